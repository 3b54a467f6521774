"""Search: hyper-parameters by Optuna, regressors on frozen features."""
