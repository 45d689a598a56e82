"""Plus and minus infinity of times in cycles, as 64-bit integers.

Both leave room for sums: a few of them added up, or added to any time below `MAX_LATENCY`, still fit into 64
bits and stay beyond every time.
"""

INFINITY = 2**60
"""Later than every time: what is never read, never finished, or not allowed."""

MINUS_INFINITY = -INFINITY
"""Earlier than every time: what nobody needs, or what implies nothing."""
