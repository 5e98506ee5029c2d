"""What goes: criteria score items, scopes let them compete, a plan says exactly what is removed where."""
