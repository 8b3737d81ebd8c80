"""Sessions: all of them, one, one graph of it, what is told and kept."""
