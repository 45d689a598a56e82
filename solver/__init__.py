"""Everything that decides or computes; it prints nothing.

At the root stand the front door (`solve`), one call of a method (`run`), what ends it (`stop`), solution
files (`solution`) and the oracle (`reference`). Each folder is one subject; docs/architecture.md has the map.
"""
