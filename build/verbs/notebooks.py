"""Verbs of notebooks: stitched, built, checked, rehearsed; and the demo of the whole path."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from build.verbs.options import AsJson, Layout

verbs = typer.Typer()


@verbs.command("stitch")
def stitch_verb(
    main_script: Annotated[Path, typer.Argument(metavar="MAIN.py", help="The percent script to start from.")],
    root: Annotated[Path, typer.Option(help="Folder whose packages are ours and are inlined.")],
    out: Annotated[Path, typer.Option(help="The notebook to write.")],
    as_json: AsJson = False,
) -> None:
    """Stitch one script and the modules it needs into one notebook.

    Example: python -m build stitch kernel_src/kernels/infer.py --root . --out /tmp/infer.ipynb
    """
    from build.stitch.command import run

    run(main_script, root, out, as_json)


@verbs.command("notebooks")
def notebooks_verb(
    experiment: Annotated[str, typer.Option(help="Only this one; every experiment by default.")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace notebooks edited by hand; copies are kept in out/.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build notebooks/<slug>/ from the sources; what is up to date is skipped.

    Example: python -m build notebooks --experiment v1
    """
    from build.notebooks.builder import run

    run(experiment or None, as_json, overwrite=overwrite)


@verbs.command("check")
def check_verb(as_json: AsJson = False) -> None:
    """Refuse stale, networked, oversized or mis-described notebooks.

    Example: python -m build check
    """
    from build.notebooks.check import run

    run(as_json)


@verbs.command("rehearse")
def rehearse_verb(
    experiment: Annotated[str, typer.Option(help="Whose notebook.")],
    data: Annotated[Path, typer.Option(help="A folder in the competition's layout.")],
    kernel: Annotated[str, typer.Option(help="train or infer.")] = "infer",
    weights: Annotated[list[Path] | None, typer.Option(help="A folder to mount as dataset; repeat for more.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="HANDLE=DIR", help="A Kaggle Model, owner/model/framework/variation/version=DIR; repeat."),
    ] = None,
    hidden: Annotated[Path | None, typer.Option(help="The hidden test that a rerun gets instead of data's.")] = None,
    layout: Layout = "new",
    rerun: Annotated[bool, typer.Option("--rerun", help="As Kaggle's rerun on the hidden test.")] = False,
    limit_s: Annotated[float, typer.Option(help="Stop after so many seconds; Kaggle's limit by default.")] = 0.0,
    memory_gb: Annotated[float, typer.Option(help="Stop beyond so much memory; Kaggle's by default.")] = 0.0,
    device: Annotated[
        Literal["real", "p100"], typer.Option(help="real, or p100: a GPU this torch has no kernels for.")
    ] = "real",
    isolation: Annotated[str, typer.Option(help="auto, bubblewrap, namespace, or guard: do without.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Where to; out/rehearsals/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a built notebook as Kaggle would: network cut, input read-only, limits enforced, submission validated.

    Example: python -m build rehearse --experiment demo --data out/demo/competition --weights out/demo/bundle --rerun
    """
    from build.notebooks.builder import check_notebook
    from build.notebooks.metadata import kernel_slug
    from build.run.rehearse.command import run
    from kernel_src.competition.constants import LIMIT_S, MEMORY_GB

    slug = kernel_slug(experiment, kernel)
    if not Path("notebooks", slug, f"{slug}.ipynb").is_file():
        check_notebook(experiment, kernel)  # names what was typed, where there is no such notebook
    run(
        experiment=experiment,
        kernel=kernel,
        data=data,
        weights=weights or [],
        models=model or [],
        hidden=hidden,
        layout=layout,
        rerun=rerun,
        limit_s=limit_s or LIMIT_S,
        memory_gb=memory_gb or MEMORY_GB,
        device=device,
        isolation=isolation,
        out=out or Path("out/rehearsals") / slug,
        as_json=as_json,
    )


@verbs.command("demo")
def demo_verb(
    out: Annotated[Path, typer.Option(help="Where to.")] = Path("out/demo"),
    as_json: AsJson = False,
) -> None:
    """Paint a small competition, train on it, bundle, infer, score: everything, rehearsed as on Kaggle.

    Example: python -m build demo
    """
    from build.run.demo import run

    run(out, as_json)
