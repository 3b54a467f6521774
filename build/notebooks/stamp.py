"""What the last build read and wrote, so that the next one can say "up to date" without loading anything heavy.

`out/build/stamp.json` holds, per notebook, one digest of everything that went into it and one of each file that came
out. It saves time and decides nothing else: without it, or when anything differs, the build simply runs.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kernel_src.runtime.files import sha256_of, write_json

STAMP = Path("out", "build", "stamp.json")
SOURCES = "kernel_src"
_KIT = Path(__file__).resolve().parents[1]
# The kit's own files that decide what a notebook's bytes are.
_NAMES = ("metadata", "builder", "seal", "stamp", "adopted", "adopted_card", "wheels_cell")
_KIT_FILES = ("core/image.py", "core/image.json", *(f"notebooks/{name}.py" for name in _NAMES))


def digest_inputs(root: Path) -> str:
    """Return one sha256 over names and content of every source file, and of the kit's own code that makes notebooks."""
    digest = hashlib.sha256()
    for base, paths in ((root, _files_below(root / SOURCES)), (_KIT, _kit_files())):
        for path in paths:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(base).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def is_current(root: Path, inputs: Mapping[str, str]) -> bool:
    """Tell whether every notebook named in `inputs` (slug → digest of its inputs) lies there as last written."""
    stamp = _read(root)
    for slug, digest in inputs.items():
        entry = stamp.get(slug)
        if not isinstance(entry, dict) or entry.get("inputs") != digest or not isinstance(entry.get("files"), dict):
            return False
        for name, sha256 in entry["files"].items():
            path = root / name
            if not path.is_file() or sha256_of(path) != sha256:
                return False
    return True


def remember(root: Path, inputs: Mapping[str, str], files: Mapping[str, Iterable[Path]]) -> None:
    """Note what was built from what; entries of other notebooks stay."""
    stamp = _read(root)
    for slug, digest in inputs.items():
        hashes = {path.relative_to(root).as_posix(): sha256_of(path) for path in files[slug]}
        stamp[slug] = {"inputs": digest, "files": hashes}
    path = root / STAMP
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(sorted(stamp.items())))


def _read(root: Path) -> dict[str, Any]:
    try:
        value = json.loads((root / STAMP).read_bytes())
    except (FileNotFoundError, ValueError):  # none yet, or damaged: as good as none
        return {}
    return value if isinstance(value, dict) else {}


def _kit_files() -> list[Path]:
    return [*_files_below(_KIT / "stitch"), *(_KIT / name for name in _KIT_FILES)]


def _files_below(folder: Path) -> list[Path]:
    skipped = {"__pycache__", ".ipynb_checkpoints"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and not skipped & set(path.parts))
