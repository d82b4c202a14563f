"""Data sets: build one, list, export and import them."""

EXAMPLE = "harness data build path=my.txt"
