"""Data sets of the benchmarks: readers, splits and their registry."""
