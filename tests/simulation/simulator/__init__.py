"""A deterministic simulator of the whole service around the real scheduling core.

    plan -> scenario (seed -> plan)          what will happen
    books -> arrival_rule, fairness, oracle  what must be true, from effects alone where possible
    clients, engines -> world                cameras, engines, staging and the service shell, on a virtual clock
    situations                               what did happen, so that a rule that was never tried is noticed

Trap: everything that is random is drawn from the seed, and nothing iterates over a set of objects: a failing seed must
replay exactly, in any process.
"""
