"""Benchmarks: the service as separate processes, a lean receiver and a load generator, on one machine."""
