"""A lower bound on the latency of every valid solution, whatever its mappings (docs/bound.md)."""
