"""``mix``: the original low under its translation."""
