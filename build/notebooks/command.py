"""The verbs of notebooks: stitched, built, checked."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from build.core.errors import UsageError
from build.core.options import AsJson

ROOT = Path(__file__).resolve().parents[2]


def notebooks_verb(
    experiment: Annotated[str, typer.Option(help="Only this one; every experiment by default.")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace notebooks edited by hand; copies are kept in out/.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build notebooks/<slug>/ from the sources.

    What is up to date is skipped.

    Example: python -m build notebooks --experiment v1
    """
    from build.notebooks.builder import run

    run(experiment or None, as_json, overwrite=overwrite)


def check_verb(as_json: AsJson = False) -> None:
    """Check that no notebook is stale, networked or oversized.

    Nor mis-described: identity, sources, accelerator, privacy.

    Example: python -m build check
    """
    from build.notebooks.check.command import run

    run(as_json)


def stitch_verb(
    main_script: Annotated[Path, typer.Argument(metavar="MAIN.py", help="The script to start from.")],
    root: Annotated[Path, typer.Option(help="Folder that imports start from, and in which the script is run.")],
    out: Annotated[Path, typer.Option(help="The notebook to write.")],
    args: Annotated[str, typer.Option(metavar="TEXT", help="What follows MAIN.py on the command line.")] = "",
    mode: Annotated[
        Literal["auto", "inline", "files"],
        typer.Option(help="By default inline where that computes the same, else files."),
    ] = "auto",
    data: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Text files to carry, below --root.")] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Files to leave out, below --root.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make one notebook of a script and the modules it needs.

    Inline, the notebook reads as one script; where that would compute something else, it holds the files and runs them.

    Example: python -m build stitch kernel_src/kernels/infer.py --root . --out out/infer.ipynb, then
    python -m build stitch kernel_src/kernels/train.py --root . --out out/train.ipynb --mode files --args "--epochs 3"
    """
    import hashlib

    from build.notebooks.file_texts import note_texts, noted_text
    from build.notebooks.writing import keep_overwritten
    from build.stitch.modes import stitch_script
    from kernel_src.runtime.files import write_atomically

    if out.suffix != ".ipynb":
        raise UsageError(f"{out} is not the name of a notebook: end it with .ipynb")
    stitched = stitch_script(
        main_script, root, mode=mode, arguments=args, data=tuple(data or ()), without=tuple(without or ())
    )
    texts = [stitched.notebook.decode()]
    if stitched.mode == "files":  # so that an edit of the notebook can be merged with what the files are by then
        texts += [(root / path).read_bytes().decode() for path in stitched.sources]
    kept = ""
    there = out.read_bytes() if out.is_file() else stitched.notebook
    if there != stitched.notebook and noted_text(ROOT, hashlib.sha256(there).hexdigest()) is None:
        kept = keep_overwritten(ROOT, out, out.stem).relative_to(ROOT).as_posix()
    note_texts(ROOT, texts)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda draft: draft.write_bytes(stitched.notebook))
    if as_json:
        value = {
            "ok": True,
            "notebook": out.as_posix(),
            "bytes": len(stitched.notebook),
            "source_sha256": stitched.source_sha256,
            "sources": stitched.sources,
            "third_party": stitched.third_party,
            "mode": stitched.mode,
            "reason": stitched.reason,
            "renamed": dict(stitched.renamed),
            "kept": kept,
        }
        print(json.dumps(value))
        return
    if kept:
        print(f"note: {out} was edited, or is not of this command; what it was: {kept}")
    size = f"{len(stitched.sources)} sources, {len(stitched.notebook)} bytes"
    print(f"{out}: {size}, sha256 {stitched.source_sha256[:12]}…")
    inline = "inline: its cells are the sources, in the order in which they run"
    print(inline if stitched.mode == "inline" else f"as files, because {stitched.reason}")
