"""The networks' parts, built on ops: one layer a file, named as in its paper."""
