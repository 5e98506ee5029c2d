"""From a network to nodes: captured, fused, lowered."""
