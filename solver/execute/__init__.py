"""Running numbers through a schedule, and through the network layer by layer, to see that both agree."""
