"""Methods that need no solver: the heuristics, and exhaustive enumeration.

Knows pools, plans and what mappings imply for each other; nothing of `cpsat` or `bound`.
"""
