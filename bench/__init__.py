"""Benchmarks: `python -m bench SUITE`. Every figure is a median of interleaved rounds, with its spread."""
