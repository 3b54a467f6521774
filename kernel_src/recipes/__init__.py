"""## Recipes

The experiments, and what composes them.
"""
