"""## Data

What a network is trained on and sees: photographs, augmentation, external data, pseudo-labels.
"""
