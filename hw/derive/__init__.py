"""Hardware files derived from technology, bit widths and timing: a module for each kind of technology."""
