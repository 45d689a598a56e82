"""When each block of a consumer may start: the closed form, and the pairwise comparison as its baseline."""
