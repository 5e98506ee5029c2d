"""The cut that is smallest or fastest within a stated loss: candidates are tried and measured on held-out samples."""
