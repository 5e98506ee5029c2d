"""The networks of the built-in studies: one file each, see ``base.py`` for the contract."""
