"""Frozen features → targets: the cheapest strong model, and the honest opponent of every fine-tuned network."""
