"""Packages."""

from pathlib import Path

WHEELS_FOLDER = Path("out", "wheels")
