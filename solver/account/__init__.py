"""All that can be said of a plan: cycles, waits, its critical path, and what would improve it.

Everything that shows a plan, in a table, a report or a trace, reads it from here.
"""
