"""Networks, regressors, and their predictions."""
