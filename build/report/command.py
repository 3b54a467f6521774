"""The verbs `report` and `scores`: one experiment on one page, and the ledger."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from build.core.errors import UsageError
from build.core.options import AsJson
from build.core.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from build.report.diagnostics.diagnosis import Diagnostics
    from build.scores.board import Board

REPORTS = Path("out", "reports")
MOST_KINDS = 2  # of parts whose names say what they are


def report_verb(
    subject: Annotated[
        str, typer.Argument(metavar="EXPERIMENT|RUN|OOF", help="Its name, a run's folder, or any out-of-fold CSV.")
    ],
    data: Annotated[Path | None, typer.Option(help="The competition's folder, for truth and photographs.")] = None,
    submission: Annotated[Path | None, typer.Option(help="The same model's predictions on the test set.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; out/reports/<experiment>.html by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page on an experiment.

    Verdict, scores, folds, curves, diagnostics, bundle, rehearsal.

    A run's folder stands for that run. An out-of-fold CSV (NAME=PATH gives it a name) is diagnosed alone:
    residuals, worst images, calibration, zeros, identities, shift, leaks, in short; --out writes the whole page.

    Example: python -m build report demo

    Example: python -m build report out/v5.csv --data {data} --out out/v5.html
    """
    from build.report.page import judge, page
    from build.report.places import experiment_of
    from build.report.record import read_record
    from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
    from kernel_src.runtime.files import write_text

    path = Path(subject)
    run_folder = path if path.is_dir() and subject not in {**EXPERIMENTS, **ENSEMBLES} else None
    experiment = experiment_of(path) if run_folder else subject
    if experiment is None or path.is_file() or path.suffix == ".csv" or "=" in subject:
        _diagnose(subject, data, submission, out, as_json)
        return
    record = read_record(experiment, run_folder, data, submission=submission)
    verdict = judge(record)
    text = page(record, verdict)
    place = out or REPORTS / f"{experiment}.html"
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, text)
    if as_json:
        value = {
            "experiment": experiment,
            "ready": verdict.ready,
            "verdict": verdict.sentence,
            "next": verdict.next,
            "missing": [asdict(one) for one in record.missing],
            "run": str(record.run),
            "page": str(place),
            "bytes": len(text.encode()),
            "diagnosis": record.diagnosis and record.diagnosis.as_json(),
        }
        print_json(value)
        return
    print(verdict.sentence)
    for one in record.missing:
        print(f"missing: {one.what}: {one.command}")
    if verdict.next:
        print(f"next: {verdict.next}")
    print(f"written: {place} ({len(text.encode()) / 1e6:.1f} MB)")


def _diagnose(oof: str, data: Path | None, submission: Path | None, out: Path | None, as_json: bool) -> None:
    """Diagnose an out-of-fold file, whoever made it; its truth is the data's, or its own."""
    from build.core.pages import require_place
    from build.report.diagnostics.diagnosis import diagnose
    from build.report.diagnostics.page import page
    from build.report.places import data_tables
    from kernel_src.competitions.held_facts import facts
    from kernel_src.runtime.files import write_text

    require_place(out)
    table = data_tables(data)[0] if data else None
    folder = data / facts().train_folder if data else None
    images = folder if folder and folder.is_dir() else None
    diagnostics = diagnose(oof, table, images=images, test_predictions=submission)
    if out is not None:
        write_text(out, page(diagnostics))
    if as_json:
        print_json(diagnostics.as_json())
        return
    show_diagnostics(diagnostics)
    print(f"written: {out}" if out is not None else "--out FILE writes all of it, with plots and photographs")


def scores_verb(
    board: Annotated[
        bool, typer.Option("--board", help="Hold CV against public scores: what may a new model expect?")
    ] = False,
    cv: Annotated[float | None, typer.Option(help="With --board: out-of-fold score of a new model.")] = None,
    experiment: Annotated[str, typer.Option(help="With --board, instead of --cv: an experiment trained here.")] = "",
    html: Annotated[Path | None, typer.Option(help="With --board: write one self-contained page.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="With --board: another ledger than docs/scores.csv.")] = None,
    published: Annotated[
        Path | None, typer.Option(help="With --board: another file than docs/published-scores.csv.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Kaggle for scores that are out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the ledger of submissions and their scores.

    Pending scores are asked for first; --board shows what a CV is worth in public.

    Example: python -m build scores

    Example: python -m build scores --board --experiment v7 --html out/board.html
    """
    if board:
        _board(cv, experiment, html, ledger, published, as_json)
        return
    if cv is not None or experiment or html or ledger or published:
        raise UsageError("--cv, --experiment, --html, --ledger and --published belong to --board: give it, too")
    from build.kaggle.scores import refresh_ledger, show_refreshed

    refreshed = refresh_ledger(offline=offline)
    if as_json:
        print_json(refreshed.as_json())
    else:
        show_refreshed(refreshed)
    if refreshed.failed and not refreshed.ok:
        raise SystemExit(1) if as_json else refreshed.failed


def _board(
    cv: float | None, experiment: str, html: Path | None, ledger: Path | None, published: Path | None, as_json: bool
) -> None:
    """Hold CV against public as the ledger has them, and say what a new model may expect."""
    from build.core.pages import require_place
    from build.report.places import find_run
    from build.scores.board import board, published_file, read_published
    from build.scores.board_page import page
    from build.scores.cross_validation import cross_validation
    from build.scores.ledger import LEDGER, read_scores
    from kernel_src.runtime.files import write_text

    if cv is not None and experiment:
        raise UsageError("give --cv or --experiment, not both: an experiment has its CV in its bundle")
    require_place(html)
    formula = ""
    if experiment:
        found = cross_validation(find_run(experiment))
        cv, formula = found.score, found.formula
    for named in (ledger, published):
        if named is not None and not named.is_file():
            raise UsageError(f"no file {named}")
    others = published or published_file()
    result = board(read_scores(ledger or LEDGER), read_published(others) if others.is_file() else [], cv, formula)
    if html is not None:
        write_text(html, page(result))
    if as_json:
        print_json(result.as_json())
        return
    show_board(result)
    if html is not None:
        print(f"written: {html}")


def show_board(result: "Board") -> None:
    """Print the pairs, and last of all the expectation."""
    from build.core.pages import fmt, interval

    own = []
    for one in result.points:
        reach = f"[{one.low:.3f}, {one.high:.3f}]" if one.low is not None and one.high is not None else ""
        own.append((one.name, f"{one.cv:.4f}", reach, f"{one.public:.4f}", "", f"{one.public - one.cv:+.3f}"))
    published = []
    for other in result.published:
        cv, *scores = (fmt(value, ".3f", "") for value in (other.cv, other.public, other.private))
        gap = "" if other.cv is None or other.public is None else f"{other.public - other.cv:+.3f}"
        published.append((f"({other.series}: {other.model})", cv, "", *scores, gap))
    columns = ["CV", "95 %", "public", "private", "public − CV"]
    print_table("CV against public", ["model"], columns, own, dim=published)
    for note in result.notes:
        print_line(note)
    if others := result.by_others:
        print_line(
            f"by the {others.points} published pairs alone: {interval(others, '.2f')}; other models, other formulas: "
            "nothing is decided by that"
        )
    print_line(result.words())


def show_diagnostics(diagnostics: "Diagnostics") -> None:
    """Print the short of a diagnosis; the warnings last."""
    from build.core.pages import interval
    from build.scores.words import metric_name, size_words
    from kernel_src.competitions.held_facts import facts

    score, worst = diagnostics.comparison.models[0], diagnostics.worst
    unit, metric = f" {facts().unit}" if facts().unit else "", metric_name()
    size = size_words(len(diagnostics.subject.validation.image_ids), score.groups)
    print_line(f"{diagnostics.subject.name}: official {metric} {interval(score, '.3f')}, {size}")
    _show_targets(diagnostics)
    _show_parts(diagnostics)
    _show_worst(diagnostics)
    print_line(
        f"{len(worst.images)} images hold {worst.share:.0%} of the squared error; {worst.hold_half} hold half of it"
    )
    for zero in diagnostics.zeros:
        print_line(
            f"{zero.target} is 0 on {zero.images} images: predicted {zero.predicted:.1f}{unit} there on average, "
            f"at a cost of {zero.cost:.4f} {metric}"
        )
    if diagnostics.shift is not None:
        far = [one.target for one in diagnostics.shift.targets if one.unusual]
        few = "too few to compare" if not diagnostics.shift.targets else "none is further off than halves of training"
        words = f"unlike for {', '.join(far)}" if far else few
        print_line(f"test predictions ({diagnostics.shift.images} images): {words}")
    for warning in diagnostics.warnings:
        print_line(f"warning: {warning}", "yellow")


def _show_targets(diagnostics: "Diagnostics") -> None:
    from build.core.pages import fmt
    from build.scores.words import with_unit

    if diagnostics.classes:
        rows = [
            (one.target, str(one.images), str(one.predicted), fmt(one.found, ".0%"), fmt(one.right, ".0%"))
            for one in diagnostics.classes
        ]
        print_table("classes", ["class"], ["images", "judged to be it", "found", "right"], rows)
        return
    targets, many = [], len(diagnostics.targets) > 1
    for one in diagnostics.targets:
        r2 = "–" if one.r2 is None else f"{one.r2.estimate:.3f}"
        targets.append((one.target, *([r2] if many else []), f"{one.bias:+.2f}", f"{one.rmse:.1f}", f"{one.share:.0%}"))
    share = "share of the squared error"
    print_table(
        with_unit("errors").replace(",", " in"),
        ["target"],
        [*(["R²"] if many else []), "bias", "RMSE", share],
        targets,
        wrap=True,
    )


def _show_parts(diagnostics: "Diagnostics") -> None:
    from build.scores.words import loss_words, with_unit
    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_reviews import review

    main, spec = review().main, ".1%" if facts().are_classes else ".1f"
    bias = [] if facts().are_classes else [with_unit(f"bias of {review().short(facts().targets[main])}")]
    named = [("", rows) for rows in diagnostics.parts.values()]
    if len(named) > MOST_KINDS:
        named = [(f"{kind} ", rows) for kind, rows in diagnostics.parts.items()]
    parts = [
        (
            f"{kind}{part.name}",
            str(part.images),
            *([f"{part.bias[main]:+.1f}"] if bias else []),
            f"{part.error:{spec}}",
            f"{part.share:.0%}",
        )
        for kind, rows in (*named, ("fold ", diagnostics.folds))
        for part in rows or ()
    ]
    error = "wrong" if facts().are_classes else with_unit("error")
    columns = ["images", *bias, error, f"share of {loss_words().replace('its', 'the')}"]
    if parts:
        print_table("", ["part"], columns, parts, wrap=True)


def _show_worst(diagnostics: "Diagnostics") -> None:
    from build.scores.words import with_unit
    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_reviews import review

    costs, spec, has_groups = [], ".2f" if facts().are_classes else ".0f", review().has_groups
    for image in diagnostics.worst.images:
        i = facts().targets.index(image.costliest)
        values = f"{image.predicted[i]:{spec}}", f"{image.truth[i]:.0f}"
        costs.append(
            (image.image_id, *([image.group] if has_groups else []), image.costliest, *values, f"{image.share:.1%}")
        )
    columns = [*(["of"] if has_groups else []), "costliest", "predicted", with_unit("truth"), "share"]
    print_table("the worst images", ["image"], columns, costs, wrap=True)
