"""Ways to run a network, each one file: see ``base.py`` for the contract."""
