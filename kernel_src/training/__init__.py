"""## Training

Folds, epochs and checkpoints, over several sessions where one is too short.
"""
