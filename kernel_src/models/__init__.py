"""## Models

Networks, regressors, and their predictions.
"""
