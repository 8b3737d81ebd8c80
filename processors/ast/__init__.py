"""What all speech translation engines (AST) share: settings, pads, and the element around a model host."""
