"""The verb `python -m build stitch MAIN.py --root DIR --out FILE.ipynb`."""

import json
from pathlib import Path

from build.core.errors import UsageError
from build.stitch import stitch
from kernel_src.runtime.files import write_atomically


def run(main: Path, root: Path, out: Path, as_json: bool = False) -> None:
    """Stitch a script, write the notebook and say so in the last line.

    Raises:
        CheckFailed: the notebook would not compute what the package does.
        UsageError: there is no such script or folder, or `out` is not a notebook's name.
    """
    if out.suffix != ".ipynb":
        raise UsageError(f"{out} is not the name of a notebook: end it with .ipynb")
    stitched = stitch(main, root)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda draft: draft.write_bytes(stitched.notebook))
    if as_json:
        print(
            json.dumps(
                {
                    "ok": True,
                    "notebook": out.as_posix(),
                    "bytes": len(stitched.notebook),
                    "source_sha256": stitched.source_sha256,
                    "sources": stitched.sources,
                    "third_party": stitched.third_party,
                }
            )
        )
    else:
        size = f"{len(stitched.sources)} sources, {len(stitched.notebook)} bytes"
        print(f"{out}: {size}, sha256 {stitched.source_sha256[:12]}…")
