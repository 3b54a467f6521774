"""Inference that never fails."""
