"""Data sets as folders that a person can open and edit, and the importers that make them."""
