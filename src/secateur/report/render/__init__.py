"""Figures, pages, summaries and tables made from the data of plots."""
