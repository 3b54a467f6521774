"""Bundles of weights."""
