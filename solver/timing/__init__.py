"""When things happen: mappings, what they imply for one layer, and waiting over the network.

The code of docs/model.md. Knows networks and hardware, and nothing of how mappings are chosen.
"""
