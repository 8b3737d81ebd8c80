"""Rooms: several people around one graph, who speak, listen and read at its seats."""
