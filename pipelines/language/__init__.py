"""The graph language: from a YAML file to a checked graph, in named passes."""
