"""The machine: processes on cores of their own, and what they use.

    processes  starts servers and helpers, and stops them whatever happens
    usage      CPU time, page faults and memory, from /proc

Linux only.
"""
