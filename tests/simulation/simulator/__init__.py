"""A deterministic simulator of the whole service around the real scheduling core.

    plan, scenario, costs, misfortune, reloads, crowds
                                                      what will happen: from a seed, or by hand
    timeline, clients, administrator, world           cameras, decoders, engines and the service, on a virtual clock
    mistakes                                          what the service must never do, done to see it refused
    books, events, probe                              what is known, from plans and effects; the one look into the core
    oracle, answer_rule, arrival_rule, models_rule    rules about single effects, answers, arrivals, ends of models
    accounts, parking_rule                            who owes what, and who waits for room
    tally, audit, reported, shares, fairness, turns_rule, precedence_rule
                                                      rules about the whole state, after every event
    situations, outcome, report, run                  what did happen, in words

Trap: everything that is random is drawn from the seed, and nothing iterates over a set of objects. A failing seed must
replay exactly, in any process.
"""
