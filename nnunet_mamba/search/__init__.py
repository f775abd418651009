"""Adaptive Slicing Search (SliceMamba, Fan et al. 2025): evolution fits the slices of each block to a data set."""
