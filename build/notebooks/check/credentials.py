"""Strings that look like keys: a notebook goes to other people's machines, and its history stays.

Comments and Markdown are read as well. A finding shows the first characters only: logs travel too.
"""

import re
from collections.abc import Sequence
from functools import cache

from build.core.errors import Problem
from build.notebooks.check.checked_cells import Cell

# What it is → how it looks (the issuers' own formats).
_PATTERNS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Kaggle token": r"\bKGAT_[A-Za-z0-9_-]{20,}",
    "a Kaggle key": r"(?i:kaggle_key|[\"']key[\"'])\W{1,8}[0-9a-f]{32}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})\b",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]*[A-Za-z0-9]{20,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[abposr]-[A-Za-z0-9-]{10,}",
    "a web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    # A variable that calls itself secret, with a value that no word of a language is: it has letters and digits.
    "a secret": r"(?i:[A-Z0-9_]*(?:API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|KAGGLE_KEY))[\"'\])]*\s*[:=]\s*[\"']"
    r"(?=[^\"']*[0-9])(?=[^\"']*[A-Za-z])[A-Za-z0-9+/_=-]{20,}[\"']",
}
_SECRETS = {what: re.compile(pattern) for what, pattern in _PATTERNS.items()}


def find_credentials(cells: Sequence[Cell]) -> list[Problem]:
    """List what looks like a credential, in any cell."""
    cure = "revoke it where it was issued, remove it, and read it from the environment on your machine"
    return [
        Problem(what=f"what looks like {what}: {shown}", where=cell.where(line), cure=cure)
        for cell in cells
        for line, what, shown in _scan(cell.text)
    ]


@cache  # the library's cells are the same in every notebook
def _scan(text: str) -> list[tuple[int, str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for what, pattern in _SECRETS.items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.setdefault(line, (what, f"{match[0][:8]}…".replace("\n", " ")))  # one key may fit two patterns
    return [(line, what, shown) for line, (what, shown) in sorted(found.items())]
