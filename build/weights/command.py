"""The verbs of weights, and of what a model is made of."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from build.core.errors import CheckFailed, UsageError
from build.core.options import AsJson
from build.core.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from build.weights.describe import Description
    from kernel_src.recipes.experiment import Experiment


def experiments_verb(as_json: AsJson = False) -> None:
    """List the experiments: backbone, size, minutes, score.

    With parameters, folds, bundle, projected minutes on T4s and the seed's score.

    Example: python -m build experiments
    """
    from build.weights.describe import IMAGES, TIME_FORMULA
    from build.weights.sizes import list_rows

    rows = list_rows(quiet=as_json)
    if as_json:
        print_json(rows)
        return
    print_table(
        "",
        ["name", "backbone"],
        ["M", "px", "folds", "GB", "train", "T4 min", "seed"],
        [
            (
                row["name"],
                row["backbone"],
                f"{row['parameters'] / 1e6:.1f}",
                "x".join(map(str, dict.fromkeys(row["image_px"]))) if row["image_px"] else "–",  # a square by its side
                str(row["folds"]),
                f"{row['bundle_bytes'] / 1e9:.3f}",
                f"{row['training_bytes'] / 1e9:.1f}" if row["training_bytes"] else "–",
                f"{row['t4_minutes_800']:.1f}",
                "–" if row["seed_public_r2"] is None else f"{row['seed_public_r2']:.2f}",
            )
            for row in sorted(rows, key=lambda row: row["name"])
        ],
    )
    print_line(
        "M: million parameters, with the frozen depth model once. px: side of the square, or height x width. GB: the\n"
        "fp16 bundle of all folds. train: GB of each GPU that training takes, without some 1 GB for CUDA itself.\n"
        "seed: the seed's public leaderboard R² of that version.\n"
        f"T4 min: minutes for {IMAGES} images, {TIME_FORMULA}."
    )


def describe_verb(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name, e.g. v8.")] = "",
    bundle_sizes: Annotated[
        bool,
        typer.Option("--bundle-sizes", help="Instead, write docs/bundle-sizes.md: v4, v5, v7, v8 beside the seed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count an experiment's layers, parameters and bytes.

    Counted from the network itself, as it is built.

    Example: python -m build describe v8 --json

    Example: python -m build describe --bundle-sizes
    """
    if bool(experiment) == bundle_sizes:
        raise UsageError("describe one EXPERIMENT (`python -m build experiments` lists them), or give --bundle-sizes")
    if bundle_sizes:
        _print_sizes(as_json)
        return
    from build.weights.describe import TIME_FORMULA, descriptions
    from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS

    if experiment in ENSEMBLES:
        members = ", ".join(ENSEMBLES[experiment].shares)
        raise UsageError(f"{experiment} is an ensemble of {members}: describe each of them")
    if experiment not in EXPERIMENTS:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join(EXPERIMENTS)}")
    (description,) = descriptions([EXPERIMENTS[experiment]], quiet=as_json, with_memory=True)
    if as_json:
        times = {"t4_minutes_800": round(description.t4_minutes, 1), "t4_minutes_formula": TIME_FORMULA}
        print_json(asdict(description) | times)
    else:
        _print_description(description, EXPERIMENTS[experiment])


def _print_description(d: "Description", experiment: "Experiment") -> None:
    from rich.console import Console
    from rich.table import Table

    from build.weights.describe import IMAGES, TIME_FORMULA

    table = Table("part", "kind", "parameters", "trained", "output", title=f"{d.experiment}: {d.backbone}")
    for layer in d.layers:
        output = " x ".join(map(str, layer.output)) if layer.output else "–"
        table.add_row(layer.name, layer.kind, f"{layer.parameters:,}", f"{layer.parameters_trained:,}", output)
    console = Console()
    console.print(table)
    seen_by, bundle = "the heads", f"bundle of {d.folds} folds: {d.bundle_bytes_fp16 / 1e9:.3f} GB in fp16"
    if experiment.is_frozen:
        seen_by, bundle = "the regressor", "bundle: the regressor alone, some MB, known once it is fitted"
    training = "training: no GPU is needed"
    if d.training_bytes:
        steps = experiment.batch.accumulate
        training = (
            f"training: {d.training_bytes / 1e9:.1f} GB of each GPU ({experiment.machine.shape}) with "
            f"{d.images_at_once} photographs at once{f', {steps} batches a step' * (steps > 1)}; measured on "
            "fake tensors, without the CUDA context and workspaces of about 1 GB"
        )
    console.print(
        f"{d.parameters_total:,} parameters, {d.parameters_trained:,} trained; {d.image_px[0]} x {d.image_px[1]} px, "
        f"mean {d.mean}, std {d.std}, {d.interpolation}\n"
        f"{d.backbone_dim} features from the backbone, {d.feature_dim} seen by {seen_by}\n"
        f"{bundle}\n"
        f"{training}\n"
        f"{d.t4_minutes:.1f} min for {IMAGES} images ({TIME_FORMULA})",
        highlight=False,
    )


def _print_sizes(as_json: bool) -> None:
    """Write docs/bundle-sizes.md and print it.

    Raises:
        CheckFailed: a bundle is larger than promised.
    """
    from build.weights.sizes import SEED_GB, size_problems, write_sizes

    described, text = write_sizes(quiet=as_json)
    if as_json:
        fields = ("experiment", "backbone", "folds", "run_bytes", "bundle_bytes_fp16", "depth_bytes_fp16")
        bundles = [{name: getattr(d, name) for name in fields} | {"seed_gb": SEED_GB[d.experiment]} for d in described]
        total = sum(d.bundle_bytes_fp16 for d in described)
        print_json({"total_bytes": total, "seed_total_gb": round(sum(SEED_GB.values()), 2), "bundles": bundles})
    else:
        print(text)
    if problems := size_problems(described):
        raise CheckFailed(problems)


def augment_verb(
    experiment: Annotated[str, typer.Option(help="Whose augmentation preset and size.")],
    image: Annotated[Path, typer.Option(help="A photograph.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write; out/augment-<experiment>.png by default.")] = None,
    count: Annotated[int, typer.Option(help="How many augmented pictures, beside the original.")] = 15,
    depth: Annotated[Path | None, typer.Option(help="Folder of a depth model: show the maps that turn along.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of an experiment's augmentation.

    Example: python -m build augment --experiment v8 --image {data}/train/ID1011485656.jpg
    """
    import cv2

    from build.weights.augment import contact_sheet
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.data.images import ImageError, read_rgb
    from kernel_src.runtime.files import WeightsError, write_atomically

    place = out or Path(f"out/augment-{experiment}.png")
    if experiment not in EXPERIMENTS:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join(EXPERIMENTS)}")
    if count < 1 or place.suffix.lower() != ".png":
        raise UsageError(f"--count {count} must be at least 1, and --out {place} must end in .png")
    try:
        sheet = contact_sheet(EXPERIMENTS[experiment], read_rgb(image), count, depth)
    except (ImageError, FileNotFoundError, WeightsError) as error:
        raise UsageError(str(error)) from None
    place.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    write_atomically(place, lambda draft: draft.write_bytes(encoded.tobytes()))
    preset = EXPERIMENTS[experiment].augment.preset
    if as_json:
        print_json({"file": str(place), "experiment": experiment, "augmentation": preset, "pictures": count})
    else:
        print(f"{place}: the original and {count} pictures of the preset {preset}")


def weights_verb(
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name; without it, list them.")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="The downloaded file, or its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; out/weights/<slug> by default.")] = None,
    part: Annotated[str, typer.Option(help="Which weights of a checkpoint that holds several.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a downloaded pretrained file into a dataset.

    Without a file it lists where the weights of each experiment come from.

    Example: python -m build weights i2b-resnet34-imagenet --from ~/Downloads/resnet34
    """
    from build.weights.conversion import make_weights
    from kernel_src.runtime.weight_sources import SOURCE_OF

    if not dataset and as_json:
        print_json([asdict(row) for row in SOURCE_OF.values()])
    elif not dataset:
        for row in SOURCE_OF.values():
            handles = ", ".join(f"{m.handle} ({m.file})" for m in row.models) or "none found"
            print(f"{row.dataset}\n  serves {', '.join(row.serves)}; {row.hub} ({row.licence})\n  on Kaggle: {handles}")
            print("".join([f"  seen: {m.seen}\n" for m in row.models]) + (f"  {row.note}" if row.note else ""))
    elif source is None:
        raise UsageError(f"where do the weights of {dataset} lie? add --from DIR")
    else:
        report = make_weights(dataset, source, out, part)
        if as_json:
            print_json(asdict(report))
            return
        if report.taken:
            print(f"taken from {report.converted_from}: {report.taken}")
        print(f"{report.folder}: {report.tensors} tensors, {report.bytes / 1e6:.0f} MB → PRETRAINED={report.folder}")


def external_verb(
    source: Annotated[Path, typer.Option("--from", help="Folder of the unpacked download.")],
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name; by default the competition's.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to; out/external/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make others' downloaded photographs into a dataset.

    The dataset that training mounts; it is read back.

    Example: python -m build external --from ~/Downloads/unpacked
    """
    from build.weights.external import make_external

    made = make_external(dataset, source, out)
    if as_json:
        print_json(made.as_json())
    else:
        print("\n".join(made.as_lines()))


def pseudo_label_verb(
    experiment: Annotated[str, typer.Option(help="The recipe to train on the labels.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    bundle: Annotated[list[Path] | None, typer.Option(help="Folder of a bundle of the same split; repeat.")] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Folder of photographs; repeat. By default the test set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; the folder's name becomes the dataset's.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="path=value …, as in the training.")] = None,
    max_spread_g: Annotated[float | None, typer.Option(help="Drop photographs on which the folds differ more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Label unweighed photographs with a bundle.

    Fold by fold: pseudo_labels.csv for another training.

    Example: python -m build pseudo-label --experiment demo --data out/demo/competition --bundle out/demo/bundle
    """
    from build.core.settings import apply_changes, find_experiment, parse_changes
    from build.weights.pseudo_label import PSEUDO, label, last_words
    from kernel_src.competitions.kernel_cards import facts_of

    changed = apply_changes(find_experiment(experiment), parse_changes(set_values or []))
    target = out or PSEUDO / f"{facts_of(experiment).prefix}-{experiment.replace('_', '-')}-pseudo-labels"
    report = label(changed, data, bundle or [], images or [], target, max_spread_g=max_spread_g)
    if as_json:
        print_json(asdict(report))
    else:
        print(last_words(report, data))


def bundle_verb(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run/ folder that the training left.")],
    out: Annotated[Path | None, typer.Option(help="Where to; out/bundles/<experiment> by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Competition folder: measure what half precision costs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a training run into a folder for a dataset.

    Weights in fp16, and a manifest.

    Example: python -m build bundle out/demo/rehearsal-train/working/run --data out/demo/competition
    """
    from build.weights.bundle import make_bundle, summary
    from kernel_src.competitions.kernel_cards import bundle_slug
    from kernel_src.runtime.files import CONFIG_FILE
    from kernel_src.runtime.manifest import read_bundle_json

    if not (run_folder / CONFIG_FILE).is_file():
        raise UsageError(f"{run_folder} holds no finished training run (no {CONFIG_FILE})")
    name = read_bundle_json(run_folder, CONFIG_FILE)["experiment"]["name"]
    report = make_bundle(run_folder, out or Path("out/bundles") / name, slug=bundle_slug(name), data=data)
    print(json.dumps(asdict(report)) if as_json else summary(report))
