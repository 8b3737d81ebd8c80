"""Floor 2: the live server and its page. Empty until the live transport lands."""

if not __name__.startswith("tolmach."):
    raise ImportError(f"{__name__} is a room of Tolmach and is imported as tolmach.{__name__}", name=__name__)
