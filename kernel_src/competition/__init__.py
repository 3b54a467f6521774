"""## Competition

What is particular to this competition: metric, tables, splits, submission.
"""
