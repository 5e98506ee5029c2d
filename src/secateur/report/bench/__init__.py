"""What ``secateur bench`` measured, as a table and a figure."""
