"""What a network is: layers and operands, and the built-in networks."""
