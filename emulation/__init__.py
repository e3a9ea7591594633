"""A GPU's work without a GPU.

    emulator   the crop kernel's own source, built for a CPU, as a program
    cases      random work for the kernel, and what the CPU path makes of it
    libcuda/   a driver library for the real `cuda.bindings`, without a device

`driver.cpp`, `library.cpp` and `shim.h` are the C++ around the kernel. It is apart from the tests because
`bench/gpu` checks a real device against the same build.
"""
