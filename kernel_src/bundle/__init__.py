"""## Bundles

What a training leaves for inference: weights, recipe and manifest in one folder.
"""
