"""Many recordings through one graph: what to run, what is done, how far it is."""
