"""Floor 1: elements that transform frames."""
