"""## Competitions

One package for each, and which of them is chosen.
"""
