"""Weights on their way: pretrained files, datasets, bundles, and what a model costs."""
