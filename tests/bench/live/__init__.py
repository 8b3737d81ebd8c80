"""Benchmarks of live calls: latency and capacity of the server, with the baselines in the same run."""
