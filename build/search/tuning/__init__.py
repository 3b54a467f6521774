"""Hyper-parameter search on inner folds: the outer fold, by which a result is judged later, is never seen."""
