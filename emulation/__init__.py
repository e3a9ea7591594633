"""A GPU's work without a GPU: the crop kernel's own source built for a CPU, random work for it, and a driver to run it.

Why apart from the tests: a real device is checked against the same build.
"""
