"""`make demo`: the whole path on a painted competition, each step through the door a user takes.

paint → build → rehearse training → bundle → rehearse inference on the hidden test → score. It leaves `competition/`,
`hidden/`, `bundle/`, `rehearsal/report.json`, `summary.json` and one page to look at.
"""

import json
import time
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps
from kernel_src.competitions.held_rules import rules

EXPERIMENT = "demo"
# What the demo promises; falling short is a failure of the kit, not a matter of taste.
LEAST_OOF_SCORE, LEAST_HIDDEN_SCORE, LEAST_LEAD_OVER_COLOUR = 0.60, 0.50, 0.10


def run(out: Path, as_json: bool) -> None:
    """Run the demo into `out` and say where the page is.

    Raises:
        CheckFailed: a step failed, or a promise of the demo is not kept.
    """
    from build.core.progress import counting
    from build.demo.competition import paint_competition
    from build.demo.page import write_page
    from build.demo.score import score_demo
    from build.notebooks.builder import all_cards, build, choose_cards
    from build.run.demo_steps import rehearse_demo
    from build.weights.bundle import make_bundle, summary
    from build.weights.pretrained import lite0_dataset
    from kernel_src.competitions.kernel_cards import bundle_slug
    from kernel_src.runtime.files import write_json

    out = out.resolve()
    steps = Steps(total=7, quiet=as_json)
    start = time.perf_counter()
    with steps.step("paint", f"a small competition in Kaggle's layout → {out / 'competition'}"):
        with counting("painting", quiet=as_json) as advance:
            paint_competition(out, progress=advance)
    with steps.step("pretrained", f"ImageNet weights of EfficientNet-Lite0 → {out / 'pretrained'}"):
        lite0_dataset(out / "pretrained")
    with steps.step("build", "kernel_src/ → notebooks/"):
        build(choose_cards(EXPERIMENT, all_cards()))
    with steps.step("train", "the training notebook, rehearsed as Kaggle would run it (about three minutes)"):
        training = rehearse_demo(EXPERIMENT, "train", out, out / "rehearsal-train", out / "pretrained", as_json)
    with steps.step("bundle", f"weights in half precision, with a manifest → {out / 'bundle'}"):
        bundle = make_bundle(
            out / "rehearsal-train" / "working" / "run",
            out / "bundle",
            slug=bundle_slug(EXPERIMENT),
            data=out / "competition",
        )
        if not as_json:
            print(summary(bundle))
    with steps.step("infer", "the inference notebook, rehearsed as Kaggle's rerun on the hidden test"):
        inference = rehearse_demo(EXPERIMENT, "infer", out, out / "rehearsal", out / "bundle", as_json)
    with steps.step("score", "against the labels kept aside, the floors and a colour baseline"):
        scores = score_demo(out)
    result: dict[str, Any] = {
        **scores,
        "oof_score_fp16": bundle.oof_score_fp16,
        "bundle_mb": round(bundle.bytes_bundle / 1e6, 2),
        "run_mb": round(bundle.bytes_run / 1e6, 2),
        "seconds": round(time.perf_counter() - start, 1),
        "seconds_by_step": steps.seconds,
        "peak_rss_gb": max(training.peak_rss_gb, inference.peak_rss_gb),
        "isolation": inference.isolation,
        "versions": _versions(),
    }
    write_json(out / "summary.json", result)
    page = write_page(out, result)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print(_last_words(result))
    if broken := _broken_promises(result):
        raise CheckFailed(broken)
    if not as_json:
        print(f"Look at {page.as_uri()} — all numbers are in {out / 'summary.json'}")


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("torch", "torchvision", "timm", "albumentations", "numpy", "opencv-python-headless", "papermill")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _last_words(result: dict[str, Any]) -> str:
    low, high = result["hidden_score_interval"]
    metric = rules().metric.name
    return (
        f"out-of-fold {metric} {result['oof_score']:.3f}, "
        f"hidden {metric} {result['hidden_score']:.3f} [{low:.3f}, {high:.3f}]; "
        f"colour alone {result['colour_baseline_r2']:.3f}, means {result['floor_mean_r2']:.3f}; "
        f"{result['seconds']:.0f} s, {result['peak_rss_gb']:.1f} GB"
    )


def _broken_promises(result: dict[str, Any]) -> list[Problem]:
    """Compare what came out with what the demo promises."""
    floor = max(result["floor_mean_r2"], result["floor_group_r2"])
    promises = [
        ("oof_score", LEAST_OOF_SCORE, "the network has not learnt"),
        ("hidden_score", LEAST_HIDDEN_SCORE, "what was learnt does not carry over to the hidden test"),
        ("oof_score", floor, "the network is no better than the means"),
        ("oof_score", result["colour_baseline_r2"] + LEAST_LEAD_OVER_COLOUR, "counting colours does nearly as well"),
    ]
    return [
        Problem(what=f"{name} is {result[name]:.3f}, promised is at least {least:.3f}: {why}", where="make demo")
        for name, least, why in promises
        if result[name] < least
    ]
