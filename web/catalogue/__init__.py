"""Graphs as clients see them: the watched folder, what clients may set."""
