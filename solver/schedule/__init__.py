"""From mappings to a plan: starts, banks, and the order in which a layer takes its blocks.

Knows timing; is told which mappings to use.
"""
