"""What mappings imply for each other, as numbers that add up along chains of reads; no solver.

A mapped layer is a linear operator over (max, +). Lags, checkpoints, heads and tails, envelopes and chains
are read off it, for `search` and `cpsat` alike. Knows timing and the mapspace.
"""
