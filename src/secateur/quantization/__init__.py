"""Networks in eight bits: ranges, scales, and modules whose arithmetic is that of int8."""
