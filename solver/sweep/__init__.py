"""Many networks on many chips: a specification becomes cases, cases are solved side by side, a table is made.

A `spec` names networks and chips whose fields take several values, of which `chips` makes chips; `cases` are
all that is to be solved. `cluster` finds processes for that, `task` is what one of them does, `run` hands out
cases and keeps what comes back in a `folder`, from which `table` makes rows and `front` finds the best.
"""
