"""One percent script per notebook: train.py, infer.py and preflight.py."""
