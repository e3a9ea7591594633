"""The memory of the process: what it may hold at most, what it holds now, and who is stopped when it holds too much.

budget        the published bound, part by part, and their sum
machine       how much memory there is to use
process       how much this process holds
allocator     what the C library keeps of freed memory, and when it gives it back
collector     what Python's garbage collector need not look at
rule          when free memory is given back, and when somebody's calls are ended. Pure
watch         a thread that looks, and does what the rule says
"""
