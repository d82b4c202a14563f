"""Data sets: build one, list, export and import them."""
