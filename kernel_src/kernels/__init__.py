"""One percent script per notebook: train.py and infer.py."""
