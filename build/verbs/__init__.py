"""The verbs of `python -m build`, by subject; each imports its part only when it is called."""
