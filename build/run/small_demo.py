"""`make demo COMPETITION=…`: the whole path of a competition with two of its experiments, by the doors a user takes.

raw files → build → rehearsed trainings → bundles → inference rehearsed on the hidden test → score → compare, blend,
report. It leaves `competition/`, `hidden/`, `bundle/`, `bundles/`, `rehearsal/report.json`, `summary.json`, and the
report as `index.html`. What the painted competition of `demo.py` shows beyond that, colour alone as a floor and every
hidden photograph, belongs to it.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from build.core.choosing import first_experiment
from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps
from kernel_src.competition.choice import chosen_competition
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import COMPETITION_OF, EXPERIMENTS
from kernel_src.competitions.held_rules import rules


def run(out: Path, as_json: bool) -> None:
    """Run the demo of the chosen competition into `out` and say where the page is.

    Raises:
        UsageError: the kit makes no files in this competition's layout.
        CheckFailed: a step failed, or the network is no better than what no photograph is needed for.
    """
    from build.demo.data import make_demo_data
    from build.notebooks.builder import all_cards, build, choose_cards
    from build.run.demo_steps import rehearse_demo
    from build.weights.bundle import make_bundle
    from build.weights.pretrained import lite0_dataset
    from kernel_src.competitions.kernel_cards import bundle_slug
    from kernel_src.runtime.files import write_json

    out = out.resolve()
    names = demo_experiments()
    steps = Steps(total=6 + 2 * len(names), quiet=as_json)
    start = time.perf_counter()
    with steps.step("data", f"a small competition in the layout of {facts().slug} → {out / 'competition'}"):
        make_demo_data(out)
    with steps.step("pretrained", f"ImageNet weights of EfficientNet-Lite0 → {out / 'pretrained'}"):
        lite0_dataset(out / "pretrained")
    with steps.step("build", "kernel_src/ → notebooks/"):
        build([card for name in names for card in choose_cards(name, all_cards())])
    bundles, reports = dict[str, Path](), []
    for name in names:
        folder = out / ("rehearsal-train" if name == names[0] else f"rehearsal-train-{name}")
        with steps.step("train", f"the training notebook of {name}, rehearsed as Kaggle would run it"):
            reports.append(rehearse_demo(name, "train", out, folder, out / "pretrained", as_json))
        bundles[name] = out / "bundle" if name == names[0] else out / "bundles" / name
        with steps.step("bundle", f"weights in half precision, with a manifest → {bundles[name]}"):
            make_bundle(folder / "working/run", bundles[name], slug=bundle_slug(name), data=out / "competition")
    with steps.step("infer", "the inference notebook, rehearsed as Kaggle's rerun on the hidden test"):
        reports.append(rehearse_demo(names[0], "infer", out, out / "rehearsal", bundles[names[0]], as_json))
    with steps.step("score", "against the labels kept aside and the floors"):
        scores = score(out, bundles[names[0]])
    with steps.step("judge", "compare and blend by out-of-fold predictions, and the report page"):
        judged = judge(out, bundles)
    result: dict[str, Any] = {
        "competition": chosen_competition(),
        "metric": rules().metric.name,
        "experiments": names,
        **scores,
        **judged,
        "seconds": round(time.perf_counter() - start, 1),
        "seconds_by_step": steps.seconds,
        "peak_rss_gb": max(report.peak_rss_gb for report in reports),
    }
    write_json(out / "summary.json", result)
    print(json.dumps(result, indent=2) if as_json else last_words(result))
    if broken := broken_promises(result):
        raise CheckFailed(broken)
    if not as_json:
        print(f"Look at {(out / 'index.html').as_uri()} — all numbers are in {out / 'summary.json'}")


def demo_experiments() -> list[str]:
    """Name the first two experiments of the chosen competition that are trained; one, where there is no second."""
    own = [name for name, competition in COMPETITION_OF.items() if competition == chosen_competition()]
    trained = [name for name in own if name in EXPERIMENTS and not EXPERIMENTS[name].is_frozen]
    return [first_experiment(), *(name for name in trained if name != first_experiment())][:2]


def score(out: Path, bundle: Path) -> dict[str, Any]:
    """Score what was predicted of the hidden test, and what no photograph is needed for."""
    import numpy as np

    from build.scores.intervals import group_scores, score_intervals

    judge_by = rules()
    hidden = judge_by.read_train(out / "hidden" / "labels.csv")
    predicted = read_submission(out / "rehearsal/working" / facts().submission_file, hidden["image_id"].tolist())
    truth, groups = judge_by.target_array(hidden), judge_by.group_labels(hidden)
    (interval,) = score_intervals(group_scores(truth, np.array([predicted]), groups))
    train = judge_by.read_train(out / "competition" / facts().train_csv)
    return {
        "oof_score": json.loads((bundle / "config.json").read_bytes())["oof"]["score"],
        "hidden_score": judge_by.score(truth, predicted),
        "hidden_interval": [interval.low, interval.high],
        "floors": judge_by.floors(train),
        "images": {"train": len(train), "hidden": len(hidden)},
    }


def read_submission(path: Path, image_ids: list[str]) -> Any:
    """Return a submission as predictions (images, targets) in the order of `image_ids`; a label is certain."""
    import numpy as np

    from kernel_src.competition.facts import read_named_rows

    own = facts()
    _, rows = read_named_rows(path)
    texts = {row[own.id_column]: [row[column] for column in own.submission_columns[1:]] for row in rows}
    if own.answer == "label":
        labels = own.labels or own.targets
        return np.array([[float(label == texts[name][0]) for label in labels] for name in image_ids])
    return np.array([[float(text) for text in texts[name]] for name in image_ids])


def judge(out: Path, bundles: dict[str, Path]) -> dict[str, Any]:
    """Compare and blend the bundles, and write the report of the first, by the commands that a user types."""
    data, files = out / "competition", [f"{name}={bundle}" for name, bundle in bundles.items()]
    table = ["--train-csv", str(data / facts().train_csv)]
    judged: dict[str, Any] = {}
    if len(files) > 1:
        compared = type_command("compare", *files, *table, "--html", str(out / "compare.html"))
        blended = type_command("blend", *files, *table)
        judged = {"compare": compared["pairs"][0], "blend": blended["recommended"]}
    run_folder = out / "rehearsal-train/working/run"
    type_command("report", str(run_folder), "--data", str(data), "--out", str(out / "index.html"))
    return judged


def type_command(verb: str, *words: str) -> dict[str, Any]:
    """Run a verb of the kit and return the JSON that it prints.

    Raises:
        CheckFailed: it failed; carries what it said.
    """
    command = [sys.executable, "-m", "build", verb, *words, "--competition", chosen_competition(), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise CheckFailed([Problem(what=f"`{verb}` failed: {said}", where=f"make demo, {verb}")])
    return dict(json.loads(done.stdout))


def last_words(result: dict[str, Any]) -> str:
    """Say the scores in a line, and what compare and blend decided."""
    low, high = result["hidden_interval"]
    floors = ", ".join(f"{what} {score:.3f}" for what, score in result["floors"].items())
    lines = [
        f"out-of-fold {result['metric']} {result['oof_score']:.3f}, hidden {result['hidden_score']:.3f} "
        f"[{low:.3f}, {high:.3f}]; {floors}; {result['seconds']:.0f} s, {result['peak_rss_gb']:.1f} GB",
    ]
    if "compare" in result:
        pair = result["compare"]
        lines.append(
            f"compare: {pair['b']} against {pair['a']} {pair['difference']:+.3f} "
            f"[{pair['low']:+.3f}, {pair['high']:+.3f}]; blend: {result['blend']}"
        )
    return "\n".join(lines)


def broken_promises(result: dict[str, Any]) -> list[Problem]:
    """Hold what came out against the floors: a network that has learnt nothing is a failure of the kit."""
    gain = rules().metric.gain
    best = max(result["floors"].values(), key=gain)
    return [
        Problem(what=f"{name} is {result[name]:.3f}, no better than the floor, {best:.3f}", where="make demo")
        for name in ("oof_score", "hidden_score")
        if gain(result[name]) <= gain(best)
    ]
