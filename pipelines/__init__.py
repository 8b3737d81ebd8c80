"""Floor 0: the element contract, the graph engine, the runner and the command line."""

if not __name__.startswith("tolmach."):
    raise ImportError(f"{__name__} is a room of Tolmach and is imported as tolmach.{__name__}", name=__name__)
