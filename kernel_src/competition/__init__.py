"""## Competition

What every competition has: facts, rules, folds, a submission.
"""
