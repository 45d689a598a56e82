"""The command line. Here is what all commands share; rooms: `commands`, `show` and `records`."""
