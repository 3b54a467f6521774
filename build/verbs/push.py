"""Verbs that speak with Kaggle: data, datasets, notebooks, submissions, and what is known of them."""

from pathlib import Path
from typing import Annotated

import typer

from build.verbs.options import AsJson

verbs = typer.Typer()


@verbs.command("data")
def data_verb(
    competition: Annotated[str, typer.Option(help="Its slug; the kit's competition by default.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Where to; data/<competition> by default.")] = None,
    limit_gb: Annotated[float, typer.Option(help="Refuse more than this.")] = 50.0,
    as_json: AsJson = False,
) -> None:
    """Download the competition's files: resumed at the byte, checked, unpacked safely.

    Example: python -m build data --folder /mnt/big/csiro-biomass
    """
    from build.kaggle.transfers import run_data
    from kernel_src.competition.constants import SLUG

    run_data(competition or SLUG, folder, limit_gb, as_json)


@verbs.command("push-weights")
def push_weights_verb(
    experiment: Annotated[str, typer.Option(help="Whose weights.")],
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle's folder; out/bundles/<experiment> by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Upload an experiment's bundle as a private dataset, unless these very bytes are there; wait until it is whole.

    Example: python -m build push-weights --experiment demo
    """
    from build.kaggle.transfers import run_push_weights

    run_push_weights(experiment, bundle, as_json)


@verbs.command("push-data")
def push_data_verb(
    folder: Annotated[Path, typer.Option("--dir", help="A flat folder of files.")],
    slug: Annotated[str, typer.Option(help="The dataset's name on Kaggle, e.g. i2b-resnet34-imagenet.")],
    as_json: AsJson = False,
) -> None:
    """Upload any flat folder as a private dataset: starting weights, external data.

    Example: python -m build push-data --dir out/demo/pretrained --slug i2b-lite0-imagenet
    """
    from build.kaggle.transfers import run_push_data

    run_push_data(folder, slug, as_json)


@verbs.command("push-training")
def push_training_verb(
    experiment: Annotated[str, typer.Option(help="Whose notebook.")],
    wait: Annotated[bool, typer.Option(help="Wait for the run and make the bundle.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Run once more what failed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Push over an edit made on the site.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train on Kaggle's GPUs and make a bundle of what comes of it; resumable.

    Example: python -m build push-training --experiment v1
    """
    from build.kaggle.command import run_training
    from build.kaggle.flow import PushOptions

    run_training(PushOptions(experiment=experiment, wait=wait, again=again, overwrite=overwrite, quiet=as_json))


@verbs.command("push-inference")
def push_inference_verb(
    experiment: Annotated[str, typer.Option(help="Whose notebook.")],
    message: Annotated[str, typer.Option(help="For the submission's description and the ledger's note.")] = "",
    submit: Annotated[bool, typer.Option(help="Submit; or stop once the outputs are verified.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait for the score; with --no-submit: for the run.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Once more what failed or was submitted already.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Push over an edit made on the site.")] = False,
    as_json: AsJson = False,
) -> None:
    """From sources to a scored submission: build, check, rehearse, push, wait, verify, submit, record; resumable.

    Example: python -m build push-inference --experiment demo
    """
    from build.kaggle.command import run_inference
    from build.kaggle.flow import PushOptions

    run_inference(
        PushOptions(
            experiment=experiment,
            message=message,
            submit=submit,
            wait=wait,
            again=again,
            overwrite=overwrite,
            quiet=as_json,
        )
    )


@verbs.command("status")
def status_verb(as_json: AsJson = False) -> None:
    """Show notebooks, weights and the last submission of every experiment, and what was left open.

    Example: python -m build status
    """
    from build.kaggle.status import run

    run(as_json)


@verbs.command("scores")
def scores_verb(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Kaggle for scores that are out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the ledger docs/scores.csv, pending scores asked for, and draw CV against public.

    Example: python -m build scores
    """
    from build.kaggle.scores import run

    run(as_json, offline=offline)


@verbs.command("doctor")
def doctor_verb(as_json: AsJson = False) -> None:
    """Tell whether a push would work now: credentials, client, rations, datasets, edits on the site.

    Example: python -m build doctor
    """
    from build.kaggle.doctor import run

    run(as_json)


@verbs.command("preflight")
def preflight_verb(
    accept: Annotated[bool, typer.Option("--accept", help="Write the last report into build/core/image.json.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Look once more although it has looked before.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Push over an edit made on the site.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run five minutes on Kaggle: what its image really holds, beside what this kit assumes.

    Example: python -m build preflight, then python -m build preflight --accept
    """
    from build.kaggle.preflight import run

    run(as_json, accept=accept, again=again, overwrite=overwrite)
