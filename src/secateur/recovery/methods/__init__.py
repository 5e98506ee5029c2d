"""Recoveries: what is done after a cut to win accuracy back. One file each, see ``base.py`` for the contract."""
