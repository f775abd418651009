"""nnU-Net trainers: each picks a network, a loss and a recipe, and inherits the rest."""
