"""Scopes: which items compete with which. One file each, see ``base.py`` for the contract."""
