"""Granularities: what one item is. One file each, see ``base.py`` for the contract."""
