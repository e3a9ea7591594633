"""What the subcommands of `reidstream-engines` do; `cli.py` reads their arguments, and `tensorrt/` has two more.

common     the model that is meant, and how facts are printed
look       `inspect` and `selftest`: what is in a file, and whether it works here
tune       `tune`: how a model runs best on this machine
write      `spec` and `quantize`: files made from a model
"""
