"""Regrowth: which weights that were cut come back during training. One file each, see ``base.py`` for the contract."""
