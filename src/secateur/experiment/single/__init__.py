"""The cut of one network: its settings, its samples, the cut with its figures, and its file."""
