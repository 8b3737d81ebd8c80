"""From a checked graph to a running one; the only room that knows pipecat."""
