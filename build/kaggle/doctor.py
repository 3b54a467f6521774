"""`make doctor`: would a push work now? One line per thing that it needs: ok, warn or fail, each with its cure.

A check that fails to run becomes a line, and the next one runs. No line holds a secret: of the credentials only the
place is named.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime

from build.core.credentials import blocking_problems, find_sources
from build.core.errors import CheckFailed, UsageError
from build.core.foreign_text import shown, shown_value
from build.kaggle.checks import LOCAL_CHECKS, Check, Finding, site_checks
from build.kaggle.client import open_client

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}  # ANSI green, yellow, red


def run(as_json: bool) -> None:
    """Examine everything and print it.

    Raises:
        SystemExit: with status 1, at least one line says fail; everything has been printed.
    """
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json and not finding.absent:
            print(as_line(finding), flush=True)
    failed = sum(finding.level == "fail" for finding in findings)
    if as_json:
        print(
            json.dumps({"ok": not failed, "findings": shown_value([asdict(finding) for finding in findings])}, indent=2)
        )
    else:
        for about, count in Counter(finding.about for finding in findings if finding.absent).items():
            cure = "push-inference and push-training upload what they need; --json names each"
            print(as_line(Finding("ok", f"{count} more are not on Kaggle (yet)", cure, about)))
        print(f"{failed} of {len(findings)} would stop a push" if failed else "nothing stops a push")
    if failed:
        raise SystemExit(1)


def examine() -> Iterator[Finding]:
    """Yield every finding, as it is found."""
    for about, check in LOCAL_CHECKS:
        yield from guarded(about, check)
    if blocking_problems() or not find_sources():
        return  # reported already, and there is no account to sign in
    try:
        client = open_client()
    except CheckFailed as failed:
        yield from as_findings("sign-in", failed)
        return
    except UsageError as wrong:
        yield Finding("fail", str(wrong), about="sign-in")
        return
    yield Finding("ok", f"as {client.username}", about="sign-in")
    for about, check in site_checks(client, datetime.now(UTC)):
        yield from guarded(about, check)


def guarded(about: str, check: Check) -> Iterator[Finding]:
    """Yield what a check finds; an error in it becomes a finding, and the next check runs."""
    try:
        for finding in check():
            yield replace(finding, about=about)
    except CheckFailed as failed:
        yield from as_findings(about, failed)


def as_findings(about: str, failed: CheckFailed) -> Iterator[Finding]:
    """Make findings of problems."""
    for problem in failed.problems:
        text = f"{problem.where}: {problem.what}" if problem.where else problem.what
        yield Finding("fail", text, problem.cure, about)


def as_line(finding: Finding, terminal: bool | None = None) -> str:
    """Write a finding on one line, coloured where it goes to a terminal; a second look for secrets costs nothing."""
    level = finding.level.ljust(4)
    if sys.stdout.isatty() if terminal is None else terminal:
        level = f"\x1b[{_COLOURS[finding.level]}m{level}\x1b[0m"
    cure = f" → {finding.cure}" if finding.cure else ""
    return f"{level}  {shown(f'{finding.about:<12} {finding.text}{cure}')}"
