"""Adaptive Slicing Search (SliceMamba, Fan et al. 2025): the slices of each block, fitted to a data set by evolution."""
