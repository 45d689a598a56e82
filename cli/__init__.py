"""Everything that a person sees: commands, progress and tables."""
