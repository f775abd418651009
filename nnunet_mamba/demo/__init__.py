"""The demo: a small synthetic data set of skin lesions and the stock commands that learn it."""
