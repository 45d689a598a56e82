"""What speaks to CP-SAT: the model over candidates, its solution, packing, and the method `cpsat`.

The numbers in the model come from `maxplus`; its proposals are evaluated by `timing` like all others.
"""
