"""The demo: stock nnU-Net commands on a small synthetic data set of skin lesions."""
