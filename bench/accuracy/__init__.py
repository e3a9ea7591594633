"""How well vectors tell people apart.

    retrieval      rank-1 and mAP, and what chance would reach
    data           labelled crops of people
    default_model  the questions that the default model's card answers

`python -m bench.accuracy DATA` prints the card's tables.
"""
