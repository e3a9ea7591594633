"""TensorRT: plans made, kept, adopted and run."""
