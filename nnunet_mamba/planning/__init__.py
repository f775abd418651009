"""Plans for our networks: patches and batches by the memory that their training takes."""
