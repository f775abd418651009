"""What a network costs: parameters, multiply-adds layer by layer, time and memory."""
