"""Floor 1: elements that bring frames in and out of a graph."""
