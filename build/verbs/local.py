"""Verbs of one's own machine: train, infer, tune, run a notebook."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from build.verbs.options import AsJson

verbs = typer.Typer()


@verbs.command("train")
def train_verb(
    experiment: Annotated[str, typer.Option(help="Which recipe.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    folds: Annotated[str, typer.Option(help="Only these folds, e.g. 0,1.")] = "",
    set_values: Annotated[list[str] | None, typer.Option("--set", help="field=value …, or @best.json.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of a dataset that it mounts; repeat.")] = None,
    pseudo_labels: Annotated[Path | None, typer.Option(help="Folder with pseudo_labels.csv.")] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("out/runs"),
    as_json: AsJson = False,
) -> None:
    """Train on this machine by the training kernel itself, on all its devices, and make the bundle; goes on if stopped.

    Example: python -m build train --experiment demo --data out/demo/competition --folds 0 --set "epochs=3 batch_size=4"
    """
    from build.run.training import run

    run(experiment, data, folds, set_values or [], pretrained or [], pseudo_labels, out, as_json)


@verbs.command("infer")
def infer_verb(
    experiment: Annotated[str, typer.Option(help="Which recipe or ensemble.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    weights: Annotated[list[Path] | None, typer.Option(help="Folder of a bundle; repeat for an ensemble.")] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("out/runs"),
    as_json: AsJson = False,
) -> None:
    """Predict on this machine by the inference kernel itself: bundles → a checked submission.csv.

    Example: python -m build infer --experiment demo --data out/demo/competition --weights out/demo/bundle
    """
    from build.run.inference import run

    run(experiment, data, weights or [], out, as_json)


@verbs.command("pseudo-label")
def pseudo_label_verb(
    experiment: Annotated[str, typer.Option(help="The recipe that shall train on the labels.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    bundle: Annotated[list[Path] | None, typer.Option(help="Folder of a bundle of the same split; repeat.")] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Folder of photographs; repeat. By default the test set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; the folder's name becomes the dataset's.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="field=value …, as in the training.")] = None,
    max_spread_g: Annotated[float | None, typer.Option(help="Drop photographs on which the folds differ more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Label unweighed photographs with what a bundle predicts, fold by fold: pseudo_labels.csv for another training.

    Example: python -m build pseudo-label --experiment demo --data out/demo/competition --bundle out/demo/bundle
    """
    from build.weights.pseudo_label import run

    run(experiment, data, bundle or [], images or [], out, set_values or [], max_spread_g, as_json)


@verbs.command("tune")
def tune_verb(
    experiment: Annotated[str, typer.Option(help="The recipe to start from.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    trials: Annotated[int, typer.Option(help="Finished trials that the study shall have, over all processes.")] = 20,
    storage: Annotated[str, typer.Option(help="sqlite:///FILE, a database's URL, or a journal's path.")] = "",
    study: Annotated[str, typer.Option(help="Its name; EXPERIMENT-foldK by default.")] = "",
    set_values: Annotated[list[str] | None, typer.Option("--set", help="field=value …, not searched.")] = None,
    space: Annotated[list[str] | None, typer.Option(help="field=a,b or field=low..high; repeat.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of a dataset that it needs; repeat.")] = None,
    outer_fold: Annotated[int, typer.Option(help="The fold that is never seen.")] = 0,
    inner_folds: Annotated[
        int, typer.Option(min=2, help="Group folds of the other rows; a trial's score is their mean.")
    ] = 3,
    pruner: Annotated[
        Literal["median", "hyperband", "none"], typer.Option(help="What ends hopeless trials.")
    ] = "median",
    seed: Annotated[int | None, typer.Option(help="Of the sampler; give it to one process only.")] = None,
    adopt: Annotated[str, typer.Option(help="Make the best trial an experiment of this name.")] = "",
    out: Annotated[Path, typer.Option(help="Where the studies go.")] = Path("out/tuning"),
    as_json: AsJson = False,
) -> None:
    """Search hyper-parameters on inner group folds; give the command again to go on, or twice to use two processes.

    Example: python -m build tune --experiment v5 --data DIR --trials 40 --space "loss=mse,log1p"
    """
    from build.search.tuning.command import run

    run(
        as_json,
        experiment_name=experiment,
        data=data,
        trials=trials,
        storage=storage,
        study_name=study,
        set_values=set_values or [],
        restrictions=space or [],
        pretrained=pretrained or [],
        outer_fold=outer_fold,
        inner_folds=inner_folds,
        pruner=pruner,
        seed=seed,
        adopt_as=adopt,
        out=out,
    )


@verbs.command("notebook-run")
def notebook_run_verb(
    experiment: Annotated[str, typer.Option(help="Whose notebook.")],
    kernel: Annotated[str, typer.Option(help="train or infer.")] = "infer",
    data: Annotated[
        Path | None, typer.Option(help="The competition's folder; the demo's by default, painted if missing.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Folder of a bundle or dataset; repeat. By default what lies in out/.")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Random numbers where no bundle is at hand.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a built notebook in a session on this machine, on the mock in out/mock; `make lab` finds the same mock.

    Example: python -m build notebook-run --experiment demo
    """
    from build.run.notebook_run import run

    run(experiment, kernel, data, weights or [], random, as_json)
