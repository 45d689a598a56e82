"""What hardware is: its schema, its presets and how they are loaded."""
