"""A deterministic simulator of the whole service around the real scheduling core.

    plan, scenario, misfortune             what will happen: from a seed, or by hand
    timeline, clients, world               cameras, decoders, engines and the service shell, on a virtual clock
    books, probe                           what is known, from plans and effects; the one look inside the core
    oracle, answer_rule, arrival_rule      rules about single effects, answers, arrivals
    tally, audit, shares, fairness         rules about the whole state, after every event
    situations, outcome, report, run       what did happen, in words

Trap: everything that is random is drawn from the seed, and nothing iterates over a set of objects: a failing seed must
replay exactly, in any process.
"""
