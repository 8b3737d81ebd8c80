"""Sample rate and channel conversion of a stream."""
