"""A command of the kit, typed into a shell."""

import os
import subprocess
import sys
from pathlib import Path

from build.notebooks.builder import ROOT


def type_in(*words: object, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m build …` in a process of its own, in a folder; it has two minutes."""
    command = [sys.executable, "-m", "build", *map(str, words)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)
