"""From built notebooks to a scored submission: everything that speaks with Kaggle.

`client.py` is the only module that imports the `kaggle` package, and every request passes through it.
"""
