"""Lower bounds on the latency of every valid solution (docs/bound.md).

Knows the network, the hardware and the forms of reads; no mapping, no candidate and no plan.
"""
