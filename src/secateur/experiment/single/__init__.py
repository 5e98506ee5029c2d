"""One network cut: its settings, its samples, the cut with its figures, its file, and how all that is told."""
