"""From compressed pictures and raw NV12 to pixels, on the processor.

Shared by the CPU's stager and the GPU's: a frame has the same pixels on both. jpeg (turbojpeg) decodes JPEG, whole or
in part; complaints says which of libjpeg's warnings are damage, and restarts looks for damage behind the others; opencv
(png, lossless_webp) decodes PNG and WebP; color converts NV12; buffers is the memory that frames reuse; cost estimates
how long it takes.
"""
