"""The networks' parts, built on ops: one layer per file, named as in its paper."""
