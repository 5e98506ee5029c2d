"""Whole runs in the files of other tools; the contract and the other exporters are in ``files/exporters``."""
