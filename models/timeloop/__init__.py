"""Timeloop's problem files: reading them, chaining them into a network, writing one for a layer."""
