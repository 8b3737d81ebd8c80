"""Graphs and elements for readers: drawings, JSON schema, element reference."""
