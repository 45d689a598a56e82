"""The report of a plan as a page that opens by itself in a browser."""
