"""Plans in other forms: traces, loop nests, and the files of other tools."""
