"""The verb that adopts a script."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from build.core.options import AsJson
from kernel_src.competitions.biomass.constants import SLUG

Many = list[str] | None


def adopt_verb(
    main_script: Annotated[Path, typer.Argument(metavar="MAIN.py", help="The script, as it is.")],
    root: Annotated[Path, typer.Option(help="The folder that its imports start from.")],
    slug: Annotated[str, typer.Option(help="The notebook's name on Kaggle, and what make calls EXPERIMENT.")],
    competition: Annotated[str, typer.Option(help="What it reads; empty for none.")] = SLUG,
    dataset: Annotated[Many, typer.Option(metavar="OWNER/SLUG", help="To attach; without OWNER yours; repeat.")] = None,
    model: Annotated[Many, typer.Option(metavar="HANDLE", help="A Kaggle Model to attach; repeat.")] = None,
    arguments: Annotated[str, typer.Option("--args", help="The script's arguments, quoted as for a shell.")] = "",
    mode: Annotated[
        Literal["auto", "inline", "files"], typer.Option(help="As cells, as files, or what is right.")
    ] = "auto",
    data: Annotated[Many, typer.Option(metavar="GLOB", help="Text files to carry along; repeat.")] = None,
    without: Annotated[Many, typer.Option(metavar="GLOB", help="Files to leave out; repeat.")] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="On two T4 GPUs instead of a CPU.")] = False,
    trains: Annotated[bool, typer.Option("--trains", help="It leaves weights, not a submission.")] = False,
    wheels: Annotated[
        Path | None, typer.Option(metavar="REQUIREMENTS", help="Packages that Kaggle lacks, carried as wheels.")
    ] = None,
    python: Annotated[Many, typer.Option(help="Kaggle's Python, for the wheels; repeat. By default 3.12 3.13.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace its card, and an edited notebook.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make somebody's script a kernel of this kit.

    Its card is notebooks/SLUG/adopted.json; every other command then takes SLUG for an experiment.

    Example: python -m build adopt train.py --root ../my-repo --slug my-baseline --args "--epochs 3" --gpu
    """
    from build.adopt.adoption import Wishes, run

    wishes = Wishes(
        main=main_script,
        root=root,
        slug=slug,
        competition=competition,
        datasets=dataset or [],
        models=model or [],
        arguments=arguments,
        mode=mode,
        data=data or [],
        without=without or [],
        gpu=gpu,
        trains=trains,
        requirements=wheels,
        pythons=python or [],
    )
    run(wishes, as_json, overwrite=overwrite)
