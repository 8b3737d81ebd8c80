"""Models on disk: where they lie, what a graph lacks, how they come."""
