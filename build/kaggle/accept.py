"""What a preflight saw goes into build/core/image.py: between its two lines "preflight: …", and nowhere else.

The report was written by our own notebook, but it comes over the net into Python source: so every value must look like
what it claims to be, is written as a literal, and the new text is parsed and compared before it replaces the old one.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import image
from build.core.errors import CheckFailed, Problem
from kernel_src.runtime.files import write_text

IMAGE = Path(image.__file__)
_BEGIN = re.compile(r"^# preflight: begin\b.*\n", re.MULTILINE)
_END = re.compile(r"^# preflight: end\b.*$", re.MULTILINE)
# What each value looks like; anything else is refused.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_VERSION = re.compile(r"\d[0-9A-Za-z.+!_-]{0,40}")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()/-]{0,60} sm_\d{2,3}")
_LAYOUTS = ("new", "legacy")
_CURE = "nothing is taken over from it; look at the notebook's log on the site, then run the preflight with --again"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What of a report goes into the constants."""

    on: str
    python: str
    layout: str
    gpus: tuple[str, ...]  # "Tesla T4 sm_75", one per GPU
    versions: dict[str, str]  # name in `import` → version, without the local part (+cu128)

    def as_source(self) -> str:
        """Write the constants as Python, one version per line."""
        lines = [f'SEEN_ON = "{self.on}"', f'SEEN_PYTHON = "{self.python}"', f'SEEN_LAYOUT = "{self.layout}"']
        gpus = "".join(f'"{gpu}", ' for gpu in self.gpus).rstrip(" ")
        lines.append(f"SEEN_GPUS: tuple[str, ...] = ({gpus if len(self.gpus) == 1 else gpus.rstrip(',')})")
        if not self.versions:
            return "\n".join([*lines, "SEEN_VERSIONS: dict[str, str] = {}"]) + "\n"
        entries = [f'    "{name}": "{version}",' for name, version in self.versions.items()]
        return "\n".join([*lines, "SEEN_VERSIONS: dict[str, str] = {", *entries, "}"]) + "\n"

    def as_constants(self) -> dict[str, object]:
        """Return what the written lines must evaluate to."""
        return {
            "SEEN_ON": self.on,
            "SEEN_PYTHON": self.python,
            "SEEN_LAYOUT": self.layout,
            "SEEN_GPUS": self.gpus,
            "SEEN_VERSIONS": self.versions,
        }


def read_seen(report: Mapping[str, Any], where: str, known: Mapping[str, object] = image.IMPORTS) -> Seen:
    """Take from a preflight's report what belongs into the constants.

    Raises:
        CheckFailed: with everything in it that is not what it should be.
    """
    problems: list[Problem] = []

    def text(name: str, value: object, pattern: re.Pattern[str]) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        what = f"{name} is {str(value)[:80]!r}, not what it should look like"
        problems.append(Problem(what=what, where=where, cure=_CURE))
        return ""

    on = text("time", report.get("time"), _TIME)
    python = text("python", report.get("python"), _VERSION)
    layout = _part(report, "mounts").get("layout")
    if layout not in _LAYOUTS:
        cure = "attach the competition's data and run the preflight again"
        problems.append(Problem(what=f"the mounts' layout is {str(layout)[:40]!r}", where=where, cure=cure))
    gpus = []
    listed = _part(report, "machine").get("gpus")
    for entry in listed if isinstance(listed, list) else []:
        named = f"{entry.get('name')} {entry.get('capability')}" if isinstance(entry, dict) else entry
        gpus.append(text("a GPU", named, _GPU))
    versions = {}
    for name, providers in sorted(_part(report, "versions").items(), key=lambda item: str(item[0]).lower()):
        if name in known and isinstance(providers, dict) and providers:
            found = {text(f"the version of {name}", version, _VERSION) for version in providers.values()}
            if len(found) > 1:
                what = f"{name} comes from several packages: {', '.join(map(str, providers))}"
                problems.append(Problem(what=what, where=where, cure="write its version into IMPORTS by hand"))
            versions[name] = min(found).partition("+")[0]
    if not versions:
        problems.append(Problem(what="it names no package that kernels may import", where=where, cure=_CURE))
    if problems:
        raise CheckFailed(problems)
    return Seen(on=on, python=python, layout=str(layout), gpus=tuple(gpus), versions=versions)


def write_seen(seen: Seen, path: Path = IMAGE) -> bool:
    """Write the constants between the two lines of `path`, whole or not at all; return whether anything changed.

    Raises:
        CheckFailed: the lines are not there exactly once, in order, or what came out is not what should have.
    """
    before = path.read_text(encoding="utf-8")
    begins, ends = list(_BEGIN.finditer(before)), list(_END.finditer(before))
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        what = 'the lines "# preflight: begin" and "# preflight: end" must be there once each, in this order'
        cure = (
            f"put them back around the constants SEEN_…; `git diff {path}` shows what was changed; nothing was written"
        )
        raise CheckFailed([Problem(what=what, where=str(path), cure=cure)])
    after = before[: begins[0].end()] + seen.as_source() + before[ends[0].start() :]
    if after == before:
        return False
    if read_constants(after) != seen.as_constants() or not _is_same_outside(before, after):
        what = "the constants do not read back as they were written"
        raise CheckFailed([Problem(what=what, where=str(path), cure="a fault of the kit; nothing was written")])
    write_text(path, after)
    return True


def read_constants(source: str) -> dict[str, object]:
    """Evaluate the literals `SEEN_…` of a source text without running it."""
    values = {}
    for name, node in _assignments(source):
        values[name] = ast.literal_eval(node)
    return values


def _assignments(source: str) -> list[tuple[str, ast.expr]]:
    found: list[tuple[str, ast.expr]] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        found += [(one.id, value) for one in targets if isinstance(one, ast.Name) and one.id.startswith("SEEN_")]
    return found


def _is_same_outside(before: str, after: str) -> bool:
    """Tell whether the two texts differ in nothing but the values of the constants."""

    def rest(source: str) -> list[str]:
        body = ast.parse(source).body
        return [ast.dump(node) for node in body if not _assignments(ast.unparse(node))]

    return rest(before) == rest(after)


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = report.get(name)
    return value if isinstance(value, dict) else {}
