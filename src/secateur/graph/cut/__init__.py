"""From cuts to a smaller network: tensors sliced, what modules remember set, the graph itself where neither serves."""
