"""## Inference

From bundles to predictions, within the time that is left; a fault costs one part, never the submission.
"""
