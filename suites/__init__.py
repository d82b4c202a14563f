"""Suites that ship with the package: one YAML file each, and published numbers as CSV."""
