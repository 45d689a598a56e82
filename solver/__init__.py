"""Everything that decides or computes: mapping, time, overlap, search, banks, solutions."""
