"""Figures as data: each file turns rows into one kind of plot."""
