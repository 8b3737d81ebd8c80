"""How good a graph is: recordings with references through it, scores, a page to listen to (``tolmach eval``)."""
