"""Floor 0: the element contract, the graph engine, the runner and the command line."""
