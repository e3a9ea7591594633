"""Figures out of vectors and labels: pure, with NumPy alone.

    distances     cosine and euclidean, as scores that GEMM computes: larger is nearer
    ranking       where the right answers stand in each query's ranking
    retrieval     rank-k, CMC, mAP and mINP, out of those ranks
    neighbours    the nearest rows of a set to each of its rows, in blocks
    sparse        rows of few numbers
    reciprocal    which rows are each other's neighbours
    reranking     k-reciprocal re-ranking (Zhong et al., 2017), exactly
    expansion     query expansion
    intervals     an interval for each figure, from a bootstrap over identities
    paired        whether two runs can be told apart
    separation    scores of the same and of different people, and where their errors are equal
    threads       work on rows, on all cores
    tracking      HOTA, IDF1, MOTA and ID switches, by the package trackeval

Trap: a ranking is a sort of millions of numbers, and most of it is never looked at. Nothing here sorts indices.
"""
