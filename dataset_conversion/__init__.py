"""Converters: a data set as its site gives it -> a leak-free nnU-Net raw data set; one file a data set over one shared writer."""
