"""The record as sections of a page. A piece that is missing says so where it would stand, with its command."""

import html
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from build.core.pages import Section, table, wide
from build.core.plots import Panel, legend
from build.report.record import Missing, Record
from build.scores.board_page import body as board_body
from build.scores.ledger import Score
from build.scores.page import Row, floor_text, forest, rows_of, slices_table
from kernel_src.competition.constants import TARGETS
from kernel_src.competition.floors import REFERENCE_POINTS
from kernel_src.competition.metric import weighted_r2
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.runtime.manifest import missing_folds_text

PICTURES = 8


def short(target: str) -> str:
    """Return a target's name for a heading: Green, Dead, Clover, GDM, Total."""
    return target.removeprefix("Dry_").removesuffix("_g")


def missing_section(missing: Sequence[Missing]) -> Section:
    """List what is not there, each with the command that makes it."""
    rows = "".join(f"<li>{html.escape(one.what)}: <code>{html.escape(one.command)}</code></li>" for one in missing)
    return Section("What is missing", f"<ul>{rows}</ul>" if rows else "<p>Nothing: every piece is here.</p>")


# %%
def scores_section(record: Record) -> Section:
    """Show the score with its interval beside the floors, then targets and states."""
    oof = record.config["oof"]
    half = record.half_precision
    cost = (
        f"Half precision scores {half['r2']:.5f}; no prediction moved over {half['largest_change_g']:g} g."
        if half
        else "What half precision costs was not measured (<code>python -m build bundle RUN --data DIR</code>)."
    )
    comparison = record.comparison
    if comparison is None:
        drawing = forest([Row(record.experiment, record.r2)], REFERENCE_POINTS)
        return Section(
            "Scores",
            f"""{wide("score and reference points", drawing)}
<p class="small">R² {oof["r2"]:.4f} on {oof["images"]} images ({html.escape(oof["formula"])}). Its interval needs a
train.csv with these images; dashed are the reference points of the 357 real images. {cost}</p>""",
        )
    own = comparison.targets
    targets = table(
        ["target", "R²", "95 % interval"],
        [[short(name), f"{v[0].estimate:.3f}", f"{v[0].low:.2f} to {v[0].high:.2f}"] for name, v in own.items()],
    )
    return Section(
        "Scores",
        f"""
{wide("score with interval and floors", forest(rows_of(comparison), comparison.floors))}
<p class="small">Official weighted R² in grams after the constraint, {len(comparison.validation.image_ids)} images of
{comparison.models[0].groups} State+Sampling_Date groups, group jackknife. Dashed: what no photograph is needed for:
{floor_text(comparison)} {cost}</p>
<h3>Per target (ordinary R²)</h3>{wide("targets", targets)}
<h3>Per state</h3>{wide("states", slices_table(comparison, [record.experiment], comparison.states))}
<p class="small">Root of the metric-weighted mean squared error in grams; in brackets its share of all.</p>
""",
    )


# %%
def trained_section(record: Record) -> Section:
    """Say what was trained, from which sources, on which machine."""
    config = record.config
    fields: dict[str, Any] = config["experiment"]
    changed = _changes(record.experiment, fields)
    facts = [
        ["backbone", str(fields.get("backbone", ""))],
        ["picture", f"{fields.get('image_height_px')} x {fields.get('image_width_px')} px"],
        ["starting weights", fields.get("starting_weights") or "random"],
        ["sources", str(config.get("source_sha256", "unknown"))],
        ["machine", _machine(record)],
        ["epochs' time", _duration(record.log)],
        ["run", str(record.run)],
        ["versions", ", ".join(f"{name} {number}" for name, number in config.get("versions", {}).items())],
    ]
    told = (
        f"<p>Unlike the experiment as it stands in the sources now: {html.escape(', '.join(changed))}.</p>"
        if changed
        else "<p>The experiment as it stands in the sources now.</p>"
    )
    rows = [[name, _plain(value)] for name, value in fields.items()]
    return Section(
        "What was trained",
        f"""{wide("facts", table(["", ""], facts))}{told}
<details><summary>All {len(fields)} fields of the experiment</summary>{wide("fields", table(["field", "value"], rows))}
</details>""",
    )


def _changes(name: str, fields: Mapping[str, Any]) -> list[str]:
    if name not in EXPERIMENTS:
        return ["no such experiment there"]
    now: dict[str, Any] = {key: _plain(value) for key, value in EXPERIMENTS[name].as_json().items()}
    return [
        f"{key} {now.get(key, 'absent')} → {_plain(value)}"
        for key, value in fields.items()
        if now.get(key) != _plain(value)
    ]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"


def _machine(record: Record) -> str:
    device = record.config.get("device") or record.training.get("device") or {}
    if not device.get("name"):
        return "not recorded"
    kind = "fp16" if device.get("half") else "fp32"
    return f"{device.get('count', 1)} x {device['name']}, {kind}"


def _duration(log: Mapping[int, Mapping[str, Sequence[float]]]) -> str:
    seconds = sum(sum(columns.get("seconds", ())) for columns in log.values())
    return f"{seconds:.0f} s over {len(log)} folds" if seconds else "not recorded"


# %%
def folds_section(record: Record) -> Section:
    """Show what lies in each fold, and whether groups stay whole."""
    fields = record.config["experiment"]
    cut = f"{fields['folds']} folds by {fields['split']}, seed {fields['split_seed']}"
    trained = fields.get("train_folds")
    cut += f", of which {_plain(trained)} trained" if trained else ""
    cut += f". {missing}" if (missing := missing_folds_text(record.config)) else ""
    comparison = record.comparison
    if comparison is None or record.train is None or comparison.validation.folds[0] is None:
        return Section("Folds", f"<p>{html.escape(cut)}. Which image lies where needs train.csv and oof.csv.</p>")
    validation, folds = comparison.validation, comparison.validation.folds[0]
    groups, states = validation.groups, validation.states
    split = sorted(group for group in set(groups) if len(set(folds[groups == group])) > 1)
    whole = (
        f"<strong>{len(split)} groups lie in several folds</strong>, e.g. {html.escape(split[0])}"
        if split
        else "no State+Sampling_Date group lies in two folds"
    )
    rows, members = [], []
    for fold in sorted(set(folds), key=lambda text: (len(text), text)):
        own = folds == fold
        columns = record.log.get(int(fold), {}) if fold.isdigit() else {}
        epochs, best = _epochs(columns)
        rows.append(
            [
                str(fold),
                str(int(own.sum())),
                str(len(set(groups[own]))),
                ", ".join(f"{state} {int((states[own] == state).sum())}" for state in sorted(set(states[own]))),
                f"{validation.truth[own, -1].mean():.1f}",
                _own_r2(validation.truth[own], validation.predictions[0][own]),
                epochs,
                best,
                f"{sum(columns.get('seconds', ())):.0f}" if columns.get("seconds") else "",
            ]
        )
        names = ", ".join(f"{group} ({int((groups == group).sum())})" for group in sorted(set(groups[own])))
        members.append(f"<li>Fold {html.escape(str(fold))}: {html.escape(names)}</li>")
    heading = ["fold", "images", "groups", "states", "mean Total, g", "its own R²", "epochs", "kept", "s"]
    return Section(
        "Folds",
        f"""<p>{html.escape(cut)}; {whole}.</p>{wide("folds", table(heading, rows))}
<p class="small">A fold's own R² is held against its own mean: with few groups it swings widely. Kept: the epoch whose
weights stayed, the last one unless inner rows pick it.</p>
<details><summary>Which groups lie where</summary><ul>{"".join(members)}</ul></details>""",
    )


def _own_r2(truth: np.ndarray, predicted: np.ndarray) -> str:
    return f"{weighted_r2(truth, predicted):.3f}" if np.ptp(truth) > 0 else "–"


def _epochs(columns: Mapping[str, Sequence[float]]) -> tuple[str, str]:
    """Return how many epochs a fold took, and which one was kept."""
    if not columns.get("epoch"):
        return "", ""
    epochs, inner = columns["epoch"], columns.get("inner_loss")
    kept = epochs[int(np.argmin(inner))] if inner and len(inner) == len(epochs) else epochs[-1]
    return f"{len(epochs)}", f"{kept:.0f}"


# %%
def curves_section(record: Record) -> Section:
    """Draw the losses of each fold."""
    if not record.log:
        return Section("Training curves", "<p>No log.csv beside this run's config.</p>")
    panels, drawn = [], ["loss in training"]
    for fold, columns in sorted(record.log.items()):
        lines = [(name, columns.get(name, [])) for name in ("train_loss", "inner_loss")]
        shown = [(name, values) for name, values in lines if len(values) == len(columns["epoch"])]
        positive = [value for _, values in shown for value in values if value > 0]
        if not positive or len(columns["epoch"]) < 1:
            continue
        if len(shown) > 1:
            drawn = ["loss in training", "loss on the inner rows that pick the epoch"]
        log_y = all(value > 0 for _, values in shown for value in values)
        ends = min(positive), max(positive)
        panel = Panel(_ends(columns["epoch"]), ends, "epoch", "loss", height=200, log_y=log_y)
        for i, (_, values) in enumerate(shown):
            panel.line(columns["epoch"], values, f"curve c{i}")
            panel.points(columns["epoch"], values, f"c{i}")
        last = ", ".join(f"{name.replace('_', ' ')} {values[0]:.3g} to {values[-1]:.3g}" for name, values in shown)
        panels.append(f"<figure><figcaption>Fold {fold}</figcaption>{panel.svg(f'fold {fold}: {last}')}</figure>")
    return Section(
        "Training curves",
        f"""{legend(drawn)}
<div class="panels">{"".join(panels)}</div>
<p class="small">The loss of the experiment, {record.config["experiment"].get("loss")} of scaled targets; not the score.
</p>""",
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


# %%
def pictures_section(record: Record) -> Section:
    """Show photographs from the lightest to the heaviest, with prediction and truth: a fair sample, not the worst."""
    title = "A few photographs"
    photographs = record.photographs
    if record.comparison is None or not photographs:
        return Section(title, "<p>The photographs are not at hand: <code>--data DIR</code> names their folder.</p>")
    validation = record.comparison.validation
    names = validation.image_ids.astype(str)
    at_hand = [i for i in np.argsort(validation.truth[:, -1], kind="stable") if names[i] in photographs]
    wanted = np.unique(np.linspace(0, len(at_hand) - 1, min(PICTURES, len(at_hand))).round().astype(int))
    figures = [
        _figure(photographs[names[i]], names[i], str(validation.groups[i]), validation.predictions[0][i], truth)
        for i, truth in ((at_hand[k], validation.truth[at_hand[k]]) for k in wanted)
    ]
    return Section(
        title,
        '<p class="small">Evenly from the lightest to the heaviest of the images judged; each is predicted by the fold '
        f'that has not seen it.</p><div class="photos">{"".join(figures)}</div>',
    )


def _figure(photograph: Path, name: str, group: str, predicted: np.ndarray, truth: np.ndarray) -> str:
    from build.report.diagnostics.photographs import thumbnail

    rows = table(
        ["", *map(short, TARGETS)],
        [["prediction, g", *(f"{v:z.0f}" for v in predicted)], ["truth, g", *(f"{v:.0f}" for v in truth)]],
    )
    caption = html.escape(f"{name}, {group}")
    return (
        f'<figure><img alt="photograph {html.escape(name)}" src="{thumbnail(photograph)}">'
        f"<figcaption>{caption}{wide(f'grams of {name}', rows)}</figcaption></figure>"
    )


# %%
def bundle_section(record: Record) -> Section:
    """List what would be uploaded, compared with its manifest just now."""
    bundle = record.bundle
    if bundle is None:
        command = html.escape(f"python -m build bundle {shlex.quote(str(record.run))}")
        return Section("Bundle", f"<p>No bundle of this run: <code>{command}</code>.</p>")
    rows = [[name, f"{entry['bytes']:,}", entry["sha256"]] for name, entry in sorted(bundle.files.items())]
    total = sum(entry["bytes"] for entry in bundle.files.values())
    state = (
        f'<p class="decision">Damaged: {html.escape(bundle.fault)}.</p>'
        if bundle.fault
        else "<p>Every file is as its manifest says (compared when this page was made).</p>"
    )
    return Section(
        "Bundle",
        f"""{state}<p>{html.escape(str(bundle.folder))}: {len(rows)} files, {total / 1e6:.1f} MB; its manifest is
<code>{bundle.manifest_sha256}</code>.</p>{wide("files of the bundle", table(["file", "bytes", "sha256"], rows))}""",
    )


# %%
def rehearsal_section(record: Record) -> Section:
    """Show what the rehearsal found: verdict, seconds, memory, 800 images."""
    if record.rehearsal is None:
        command = next((one.command for one in record.missing if "rehearsal" in one.what), "make rehearse")
        return Section("Rehearsal", f"<p>None yet: <code>{html.escape(command)}</code>.</p>")
    report = record.rehearsal.report
    projected = report.get("projected_seconds_800")
    submission = report.get("submission") or {}
    rows = [
        ["verdict", "ok" if report.get("ok") else "failed"],
        ["on this very bundle", "yes" if record.rehearsal.of_this_bundle else "no: on another"],
        ["as the rerun on a hidden test", "yes" if report.get("rerun") else "no"],
        ["photographs", str(report.get("images") or "not told")],
        ["seconds", _of(report, "seconds", "limit_s", "{:.0f}")],
        ["peak memory, GB", _of(report, "peak_rss_gb", "memory_gb", "{:.2f}")],
        ["800 photographs would take", f"{projected:.0f} s" if projected is not None else "not projected"],
        ["rows of the submission", f"{submission.get('rows', 'none')}{', valid' * bool(submission.get('valid'))}"],
        ["device", ", ".join(f"{key} {value}" for key, value in (report.get("device") or {}).items() if value)],
        ["network", f"{report.get('network_attempts', 'not told')} attempts"],
        ["isolation", ", ".join(f"{what}: {how}" for what, how in (report.get("isolation") or {}).items())],
        ["report", str(record.rehearsal.path)],
    ]
    problems = "".join(f"<li>{html.escape(_problem(one))}</li>" for one in report.get("problems") or [])
    how = report.get("projection")
    return Section(
        "Rehearsal",
        wide("rehearsal", table(["", ""], rows))
        + (f'<ul class="warnings">{problems}</ul>' if problems else "")
        + (f'<p class="small">Projection: {html.escape(how)}.</p>' if how else ""),
    )


def _of(report: Mapping[str, Any], value: str, limit: str, form: str) -> str:
    found = report.get(value)
    return "not told" if found is None else f"{form.format(found)} of {report.get(limit, 0):g}"


def _problem(one: Mapping[str, Any]) -> str:
    where = f"{one['where']}: " if one.get("where") else ""
    return f"{where}{one.get('what', '')}{' → ' + one['cure'] if one.get('cure') else ''}"


# %%
def submissions_section(record: Record) -> Section:
    """List the ledger's rows of this experiment."""
    if not record.scores:
        return Section(
            "Submissions", f"<p>None yet: <code>make push-inference EXPERIMENT={record.experiment}</code>.</p>"
        )
    heading = ["when", "notebook", "submission", "these weights", "CV", "public", "private", "status", "note"]
    return Section(
        "Submissions",
        wide("submissions", table(heading, [_submission(record, score) for score in reversed(record.scores)])),
    )


def _submission(record: Record, score: Score) -> list[str]:
    ours = record.bundle is not None and score.bundle_sha256 == record.bundle.manifest_sha256
    return [
        score.time[:16].replace("T", " "),
        f"v{score.kernel_version}" if score.kernel_version else "",
        str(score.submission_ref or ""),
        "yes" if ours else "other",
        *("" if value is None else f"{value:.4f}" for value in (score.cv, score.public, score.private)),
        score.status,
        score.note,
    ]


def board_section(record: Record) -> Section:
    """Show CV against public, and what this CV may expect."""
    return Section("From CV to board", f"<p>{html.escape(record.board.words())}.</p>{board_body(record.board)}")
