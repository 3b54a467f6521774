"""Notebooks: built, described, sealed, checked, and read again after somebody edited them."""
