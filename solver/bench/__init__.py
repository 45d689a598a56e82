"""Measurements of the program itself: repeatable, and reported as data."""
