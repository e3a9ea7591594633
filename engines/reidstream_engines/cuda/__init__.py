"""What a CUDA device needs of us: one kernel that makes network inputs from boxes on staged frames.

Importable without CUDA. `compile` turns the source beside this file into a cubin, `kernel_params` packs its arguments.
"""
