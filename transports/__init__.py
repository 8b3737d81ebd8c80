"""Floor 1: elements that bring frames in and out of a graph."""

if not __name__.startswith("tolmach."):
    raise ImportError(f"{__name__} is a room of Tolmach and is imported as tolmach.{__name__}", name=__name__)
