"""What wins accuracy back after a cut, without labels or with them."""
