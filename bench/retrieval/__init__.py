"""How long figures of retrieval take, and how much memory, at the sizes of Market-1501 and MSMT17.

    command  python -m bench retrieval: measures and prints
    crowds   drawn vectors of people, as many as these sets have
    measure  one step in a process of its own, its time and its peak of memory

Vectors are drawn, so no data set is needed; the work depends on their number alone, and a little on how alike they are.
"""
