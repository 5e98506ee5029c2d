"""Criteria: what a weight or a neuron is worth. One file each, see ``base.py`` for the contract."""
