"""Ways to read a network that a user has: one file each, see ``base.py`` for the contract."""
