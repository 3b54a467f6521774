"""The command line as a whole: each verb says how it is used, and asking for help loads nothing heavy."""

import re
import subprocess
import sys
from pathlib import Path

import typer

from build.cli import app

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "pandas", "timm", "nbformat", "requests", "kaggle", "rich.progress", "sqlite3")
VERBS = typer.main.get_command(app).commands


def test_help_lists_every_verb_and_loads_nothing_that_takes_time() -> None:
    script = f"""
import sys
from build.cli import main
sys.argv = ["build", "--help"]
try:
    main()
finally:
    print("LOADED", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE)) >= set(VERBS)


def test_every_verb_has_an_example_that_begins_with_itself() -> None:
    for name, verb in VERBS.items():
        assert f"Example: python -m build {name}" in (verb.help or ""), name
