"""The commands, a file each: what `overlapim --help` lists. They know all other rooms, but not each other."""
