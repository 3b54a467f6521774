"""The command line: one verb per thing a user does, each importing its part only when it is called.

Exit codes: 0 done, 1 something was checked and is not right, 2 the command cannot be meant. Every message says what,
where and the cure; nobody who is awake at one in the morning wants our traceback.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from build.problems import CheckFailed, WrongUse
from build.regress.verbs import app as regress_app

app = typer.Typer(
    name="python -m build",
    help="Plain Python in kernel_src/ becomes standalone Kaggle notebooks, rehearsed before they are pushed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(regress_app)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
Layout = Annotated[
    Literal["new", "legacy"],
    typer.Option(help="Where Kaggle mounts inputs: new (input/datasets/OWNER/SLUG) or legacy."),
]


@app.command("stitch")
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


@app.command("notebooks")
def notebooks_verb(
    experiment: Annotated[str, typer.Option(help="Only this one; every experiment by default.")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace notebooks edited by hand; copies are kept in out/.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build notebooks/<slug>/ from the sources; what is up to date is skipped.

    Example: python -m build notebooks --experiment v1
    """
    from build.notebooks import run

    run(experiment or None, as_json, overwrite=overwrite)


@app.command("check")
def check_verb(as_json: AsJson = False) -> None:
    """Refuse stale, networked, oversized or mis-described notebooks.

    Example: python -m build check
    """
    from build.check import run

    run(as_json)


@app.command("bundle")
def bundle_verb(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run/ folder that the training left.")],
    out: Annotated[Path | None, typer.Option(help="Where to; out/bundles/<experiment> by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Competition folder: measure what half precision costs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a training run into a flat folder ready for a Kaggle dataset: fp16 weights and a manifest.

    Example: python -m build bundle out/rehearsal/working/run --data data/csiro-biomass
    """
    from build.bundle import run

    run(run_folder, out, data, as_json)


@app.command("rehearse")
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
    isolation: Annotated[str, typer.Option(help="auto, or guard: do without namespaces.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Where to; out/rehearsals/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a built notebook as Kaggle would: network cut, input read-only, limits enforced, submission validated.

    Example: python -m build rehearse --experiment demo --data out/demo/competition --weights out/demo/bundle --rerun
    """
    from build.metadata import kernel_slug
    from build.rehearse.command import run
    from kernel_src.common.competition import LIMIT_S, MEMORY_GB

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
        out=out or Path("out/rehearsals") / kernel_slug(experiment, kernel),
        as_json=as_json,
    )


@app.command("demo")
def demo_verb(
    out: Annotated[Path, typer.Option(help="Where to.")] = Path("out/demo"),
    as_json: AsJson = False,
) -> None:
    """Paint a small competition, train on it, bundle, infer, score: everything, rehearsed as on Kaggle.

    Example: python -m build demo
    """
    from build.demo.run import run

    run(out, as_json)


@app.command("bundle-sizes")
def bundle_sizes_verb(as_json: AsJson = False) -> None:
    """Write the bundles of v4, v5, v7 and v8 with random weights, weigh them, and write docs/bundle-sizes.md.

    Example: python -m build bundle-sizes
    """
    from build.bundle_sizes import run

    run(as_json)


@app.command("experiments")
def experiments_verb(as_json: AsJson = False) -> None:
    """List the experiments: backbone, parameters, size, folds, bundle, projected T4 minutes, the seed's score.

    Example: python -m build experiments
    """
    from build.experiment_list import run

    run(as_json)


@app.command("describe")
def describe_verb(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name, e.g. v8.")],
    as_json: AsJson = False,
) -> None:
    """Count what an experiment is made of, from the network itself: layers, parameters, features, bundle bytes.

    Example: python -m build describe v8 --json
    """
    from build.describe import run_describe

    run_describe(experiment, as_json)


@app.command("augment")
def augment_verb(
    experiment: Annotated[str, typer.Option(help="Whose augmentation preset and size.")],
    image: Annotated[Path, typer.Option(help="A photograph.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write; out/augment-<experiment>.png by default.")] = None,
    count: Annotated[int, typer.Option(help="How many augmented pictures, beside the original.")] = 15,
    depth: Annotated[Path | None, typer.Option(help="Folder of a depth model: show the maps that turn along.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of what an experiment's augmentation makes of one photograph.

    Example: python -m build augment --experiment v8 --image data/csiro-biomass/train/ID1011485656.jpg
    """
    from build.augment import run

    run(experiment, image, out or Path(f"out/augment-{experiment}.png"), count, depth, as_json)


@app.command("train")
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
    from build.local.training import run

    run(experiment, data, folds, set_values or [], pretrained or [], pseudo_labels, out, as_json)


@app.command("infer")
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
    from build.local.inference import run

    run(experiment, data, weights or [], out, as_json)


@app.command("pseudo-label")
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
    from build.pseudo_label import run

    run(experiment, data, bundle or [], images or [], out, set_values or [], max_spread_g, as_json)


@app.command("tune")
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
    from build.tuning.command import run

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


@app.command("weights")
def weights_verb(
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name; without it, list them.")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="The downloaded file, or its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; out/weights/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List where pretrained weights come from, or make a downloaded file into the dataset that experiments name.

    Example: python -m build weights i2b-vit-base-patch14-dinov2 --from ~/Downloads/dinov2-base
    """
    from build.weights import run

    run(dataset, source, out, as_json)


@app.command("external")
def external_verb(
    source: Annotated[Path, typer.Option("--from", help="Folder of the unpacked download.")],
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name.")] = "i2b-grassclover",
    out: Annotated[Path | None, typer.Option(help="Where to; out/external/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make downloaded external data (GrassClover) into the flat dataset that training mounts, and read it back.

    Example: python -m build external --from ~/Downloads/GrassClover
    """
    from build.external import run

    run(dataset, source, out, as_json)


def main() -> None:
    """Run the command line and turn what was found into an exit code."""
    as_json = "--json" in sys.argv
    try:
        app()
    except CheckFailed as failed:
        if as_json:
            print(json.dumps({"ok": False, "problems": [problem.as_json() for problem in failed.problems]}, indent=2))
        for problem in failed.problems:
            print(problem, file=sys.stderr)
        count = len(failed.problems)
        print(f"{count} problem{'s' if count != 1 else ''}", file=sys.stderr)
        raise SystemExit(1) from None
    except WrongUse as wrong:
        print(f"{wrong}\n`python -m build --help` lists the verbs", file=sys.stderr)
        raise SystemExit(2) from None
