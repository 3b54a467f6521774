"""## Which sources trained a run

The build writes the hash of a notebook's sources into the notebook, and the run records it when it trains: by the time
the bundle is made, the sources may be newer. Cells that were edited on the site do not show.
"""

import json
from pathlib import Path

from kernel_src.runtime.files import write_json

SOURCES_FILE = "sources.json"
UNKNOWN_SOURCES = "unknown"  # the script was run as it is, or by a kit that did not record it


def note_sources(folder: Path, sha256: str) -> None:
    """Record in a run's folder that these sources train in it now; an empty hash stands for unknown ones."""
    path = folder / SOURCES_FILE
    begun_unnoted = not path.exists() and any(folder.glob("*.safetensors"))
    known: list[str] = json.loads(path.read_bytes()) if path.exists() else [UNKNOWN_SOURCES] * begun_unnoted
    noted = list(dict.fromkeys([*known, sha256 or UNKNOWN_SOURCES]))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, noted)


def sources_of(folder: Path) -> str:
    """Return the hash of the sources that trained a run; of several, in their order with a plus between them."""
    path = folder / SOURCES_FILE
    return "+".join(json.loads(path.read_bytes())) if path.exists() else UNKNOWN_SOURCES
