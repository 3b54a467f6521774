"""Every line that runs on Kaggle: plain Python, stitched into notebooks by `python -m build`."""
