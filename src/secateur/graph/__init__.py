"""A network's structure: which tensors can be pruned, and which axes must be cut together."""
