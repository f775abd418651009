"""The parts of on_gpu.py, and what runs and records them."""
