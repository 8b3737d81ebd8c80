"""The catalogue of live graphs as clients see them: the watched folder, what a client may change."""
