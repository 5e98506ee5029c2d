"""Running a compiled network: segments of kernels, layers of torch between them, threads."""
