"""Frames and crops on a CUDA device: pictures are brought to it, and one kernel cuts and normalises the boxes there.

Importable without CUDA. `probe` finds devices, `driver` (driver_api, status) owns what is taken from them, `memory`
pools it. `stager` brings frames there (decoders, nvimgcodec). `compile` turns the kernel's source beside this file into
a cubin, and `kernel_params` (nv12) packs its arguments. `devices` makes several devices look like one.
"""
