"""The machine: processes on cores of their own, and what they use.

    processes  starts servers and helpers, and stops them whatever happens
    outputs    the file that a benchmark writes
    usage      CPU time, page faults and memory, from /proc

Linux only.
"""
