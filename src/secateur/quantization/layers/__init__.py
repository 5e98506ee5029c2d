"""Layers in eight bits, one kind a file."""
