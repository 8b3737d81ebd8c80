"""Voice activity detection: cutting a stream into utterances."""
