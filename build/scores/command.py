"""The verbs `compare` and `blend`: a table for people, a page, or JSON for scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.options import AsJson
from build.core.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from build.scores.blends import BlendResult
    from build.scores.comparison import Comparison
    from build.scores.constraint_comparison import ConstraintGain

Files = Annotated[
    list[str], typer.Argument(metavar="A B …", help="Out-of-fold CSVs or run folders; NAME=PATH gives it a name.")
]
TrainCsv = Annotated[
    Path | None, typer.Option(help="The training table with the truth; not needed if a file holds truth and groups.")
]
FEW_PARTS = 8  # more of a kind are not shown one by one
MOST_PAIRS = 15  # in the terminal; the page and the JSON have all


def compare_verb(
    files: Files,
    train_csv: TrainCsv = None,
    constraints: Annotated[bool, typer.Option("--constraints", help="Also show what each constraint gains.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which out-of-fold file is better, and how surely.

    The competition's metric, paired intervals over groups or photographs, leaks.

    Example: python -m build compare out/bundles/v5 out/bundles/v7 --train-csv {data}/train.csv
    """
    from build.core.pages import require_place
    from build.scores.comparison import compare_files
    from build.scores.constraint_comparison import constraint_gains
    from build.scores.page import page
    from kernel_src.runtime.files import write_text

    require_place(html)
    comparison = compare_files(files, train_csv)
    if html is not None:
        write_text(html, page(comparison))
    if as_json:
        value = comparison.as_json()
        if constraints:
            value["constraints"] = [gain.as_json() for gain in constraint_gains(comparison.validation)]
        print_json(value)
        return
    if constraints:
        show_gains(constraint_gains(comparison.validation), len(comparison.models))
    show_comparison(comparison)
    if html is not None:
        print(f"written: {html}")


def blend_verb(
    files: Files,
    train_csv: TrainCsv = None,
    constraint: Annotated[
        str, typer.Option(help="How the blend is finished; by default as the competition usually does it.")
    ] = "",
    write: Annotated[str, typer.Option(help="Make what is recommended an ensemble of this name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Blend out-of-fold files, and say what is gained.

    Best single, mean and a nested blend; whether the gain is carried.

    Example: python -m build blend out/bundles/v5 out/bundles/v7 --train-csv {data}/train.csv --write v5_v7
    """
    from build.scores.blends import SINGLE, blend_files
    from build.scores.ensemble_file import check_ensemble, write_ensemble
    from build.scores.oof_files import read_with_truth, validation_of
    from build.scores.warnings import find_warnings
    from kernel_src.competitions.held_reviews import review
    from kernel_src.competitions.held_rules import rules

    known = review().constraints
    constraint = constraint or review().constraint
    if constraint not in known:
        raise UsageError(f"--constraint {constraint}: {rules().competition} has {', '.join(known)}")
    if len(files) < 2:
        raise UsageError("a blend needs at least two files")
    read, truth = read_with_truth(files, train_csv)
    if write:
        check_ensemble(write, [file.name for file in read])
    validation = validation_of(read, truth)
    warnings = find_warnings(read, truth, validation)
    result = blend_files(validation, constraint)
    if as_json:
        print_json(result.as_json() | {"warnings": warnings})
    else:
        show_blend(result, warnings)
    if not write:
        return
    if result.recommended == SINGLE:
        what = f"{write} is not written: no blend is better than {result.single} by more than its interval"
        raise CheckFailed([Problem(what=what, cure=f"submit {result.single}, or add a model that errs differently")])
    path = write_ensemble(write, validation.names, result, constraint)
    if not as_json:
        print(f"written: {write} in {path}; `python -m build notebooks` makes its notebook")


def show_comparison(comparison: "Comparison") -> None:
    """Print the tables, the warnings, and last of all the decision."""
    from build.core.pages import interval
    from build.scores.comparison import decision
    from build.scores.words import gain_words, metric_name, size_words
    from kernel_src.competitions.held_reviews import review

    names, ranking = comparison.validation.names, comparison.ranking
    by_target = [[f"{one.estimate:.3f}" for one in values] for values in comparison.targets.values()]
    size = size_words(len(comparison.validation.image_ids), len(set(comparison.validation.groups)))
    print_table(
        f"official {metric_name()}, {size}",
        ["model"],
        [f"{metric_name()} [95 %]", *map(review().short, comparison.targets)],
        [(names[i], interval(comparison.models[i], ".3f"), *(values[i] for values in by_target)) for i in ranking],
        dim=[(f"({name})", f"{value:.3f}") for name, value in comparison.floors.items()],
    )
    _show_parts(comparison)
    if len(names) > 1:
        print_table(
            f"pairs: {gain_words()}",
            ["a", "b"],
            ["difference [95 %]", "b better"],
            [
                (names[p.a], names[p.b], interval(p.difference, "+z.4f"), f"{p.difference.probability:.1%}")
                for p in comparison.pairs[:MOST_PAIRS]
            ],
        )
        if (left := len(comparison.pairs) - MOST_PAIRS) > 0:
            print_line(f"{left} more pairs: --json or --html show all")
    for warning in comparison.warnings:
        print_line(f"warning: {warning}", "yellow")
    print_line(decision(comparison), "bold")


def _show_parts(comparison: "Comparison") -> None:
    """Print the errors by part; of kinds with many parts those that cost the best model most."""
    from build.scores.words import loss_words, with_unit
    from kernel_src.competitions.held_facts import facts

    names, ranking = comparison.validation.names, comparison.ranking
    best, spec, lost = ranking[0], ".1%" if facts().are_classes else ".1f", loss_words()
    for kind, parts in comparison.parts.items():
        if len(parts) <= FEW_PARTS:
            print_table(
                f"{with_unit(f'error by {kind}')} (share of {lost.replace('its', 'the')})",
                [kind],
                ["images", *(names[i] for i in ranking[:3])],
                [
                    (one.name, str(one.images), *(f"{one.errors[i]:{spec}} ({one.shares[i]:.0%})" for i in ranking[:3]))
                    for one in parts
                ],
                wrap=True,
            )
            continue
        worst = sorted(parts, key=lambda one: -one.shares[best])[:3]
        print_line(
            f"{kind}s that cost {names[best]} most: "
            + ", ".join(f"{one.name} {one.shares[best]:.0%} of {lost} ({one.images} images)" for one in worst)
        )


def show_gains(gains: "Sequence[ConstraintGain]", files: int) -> None:
    """Print what each constraint gains."""
    from build.core.pages import interval
    from build.scores.words import metric_name

    print_table(
        f"{metric_name()}, mean over {files} files",
        ["constraint", "against"],
        ["gain [95 %]", "better", "of one file"],
        [
            (
                one.constraint,
                one.against,
                interval(one.gain, "+z.4f"),
                f"{one.gain.probability:.1%}",
                f"{one.least:+z.4f} to {one.most:+z.4f}",
            )
            for one in gains
        ],
    )


def show_blend(result: "BlendResult", warnings: Sequence[str]) -> None:
    """Print the three rungs, the choices, the warnings, and the recommendation."""
    from build.core.pages import interval
    from build.scores.blends import MEAN, NESTED, RUNGS, SINGLE
    from build.scores.comparison import decision_line
    from build.scores.words import metric_name

    rungs = [f"{SINGLE}: {result.single}", *RUNGS[1:]]
    shown = [interval(model, ".4f") for model in result.comparison.models]
    print_table("", [""], [f"{metric_name()} [95 %]"], zip(rungs, shown, strict=True))
    folds = ", ".join(f"{name} in {count}" for name, count in result.choices.most_common())
    print_line(f"the outer folds chose: {folds}; on all rows: {result.final}")
    print_line(f"fitted and scored on the same rows it would seem {result.naive_score:.4f}: not to be believed")
    for warning in warnings:
        print_line(f"warning: {warning}")
    for a, b in ((SINGLE, MEAN), (SINGLE, NESTED), (MEAN, NESTED)):
        print_line(decision_line(a, b, result.gain(a, b)))
    print_line(f"recommended: {result.single if result.recommended == SINGLE else result.recommended}")
