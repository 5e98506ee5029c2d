"""What a network costs and how well it does: accuracy, size, FLOPs, latency, agreement of outputs."""
