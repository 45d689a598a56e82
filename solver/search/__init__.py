"""Heuristic methods that choose a mapping and a start for each layer."""
