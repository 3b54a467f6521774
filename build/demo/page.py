"""The demo's one page: the scores beside their floors, then every hidden photograph with prediction and truth."""

import base64
import html
from pathlib import Path
from typing import Any

import numpy as np

from kernel_src.competition.constants import IMAGE_COLUMN, SUBMISSION_FILE, TARGETS
from kernel_src.runtime.files import write_text

THUMBNAIL_PX = (180, 360)  # height, width
JPEG_QUALITY = 80
STYLE = """
:root { color-scheme: light dark; --ink: #1c2a1c; --paper: #f7f7f2; --mild: #6b756b; --true: #3f7d3a; --guess: #c9822b }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ece2; --paper: #161a16; --mild: #9aa59a } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.6rem; margin: .5rem 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
.bars { display: grid; grid-template-columns: max-content 1fr 4rem; gap: .3rem .8rem; align-items: center }
.bar { background: var(--mild); height: 1rem; border-radius: 2px } .ours { background: var(--true) }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; border-radius: 4px; display: block }
table { width: 100%; border-collapse: collapse; font-size: .85rem } td, th { text-align: right; padding: 0 .2rem }
th { font-weight: 400; color: var(--mild) } th:first-child, td:first-child { text-align: left }
.truth { color: var(--true) } .guess { color: var(--guess) } p.small { color: var(--mild); font-size: .85rem }
"""


def write_page(demo: Path, result: dict[str, Any]) -> Path:
    """Write `index.html` into the demo's folder, self-contained, and return its path."""
    from build.demo.score import read_submission
    from kernel_src.competition.tables import read_train, target_array

    hidden = read_train(demo / "hidden" / "labels.csv")
    predicted = read_submission(demo / "rehearsal" / "working" / SUBMISSION_FILE, hidden["image_id"].tolist())
    truth = target_array(hidden)
    # The largest errors first: what a reader can learn something from.
    order = np.argsort(-np.abs(predicted - truth)[:, -1])
    figures = "\n".join(
        _figure(demo / "hidden" / hidden[IMAGE_COLUMN][i], str(hidden["image_id"][i]), predicted[i], truth[i])
        for i in order
    )
    low, high = result["hidden_r2_interval"]
    page = demo / "index.html"
    write_text(
        page,
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Image2Biomass demo</title><style>{STYLE}</style>
<h1>From plain sources to a rehearsed submission</h1>
<p>{result["images"]["train"]} painted photographs trained {result["folds"]} folds of EfficientNet-Lite0 in a rehearsed
training notebook; the bundle went into the rehearsed inference notebook, which predicted the
{result["images"]["hidden"]} photographs below without ever seeing a label.
{result["seconds"]:.0f} s in all, at most {result["peak_rss_gb"]:.1f} GB.</p>
<h2>Scores (official weighted R²)</h2>
<div class="bars">{_bars(result)}</div>
<p class="small">Hidden: 95 % interval {low:.2f} to {high:.2f} over State+Sampling_Date groups (group jackknife). The
photographs are painted: these numbers prove the path, they say nothing about the real competition.</p>
<h2>The hidden test, largest errors in Total first</h2>
<p><span class="guess">prediction</span> over <span class="truth">truth</span>, in grams</p>
<div class="photos">{figures}</div>
</html>
""",
    )
    return page


def _bars(result: dict[str, Any]) -> str:
    rows = [
        ("out of fold", result["oof_r2"], True),
        ("hidden test", result["hidden_r2"], True),
        ("Ridge on colours", result["colour_baseline_r2"], False),
        ("each target's mean", result["floor_mean_r2"], False),
        ("mean of the other groups", result["floor_group_r2"], False),
    ]
    return "".join(
        f'<span>{name}</span><span class="bar{" ours" if ours else ""}" style="width:{max(0.0, score):.0%}"></span>'
        f"<span>{score:.3f}</span>"
        for name, score, ours in rows
    )


def _figure(photograph: Path, name: str, predicted: np.ndarray, truth: np.ndarray) -> str:
    names = "".join(f"<th>{html.escape(t.removeprefix('Dry_').removesuffix('_g'))}</th>" for t in TARGETS)
    guess = "".join(f'<td class="guess">{value:.0f}</td>' for value in predicted)
    true = "".join(f'<td class="truth">{value:.0f}</td>' for value in truth)
    return (
        f'<figure><img loading="lazy" alt="photograph {html.escape(name)}" src="{_thumbnail(photograph)}"><table>'
        f"<tr><th>{html.escape(name)}</th>{names}</tr><tr><td></td>{guess}</tr><tr><td></td>{true}</tr></table></figure>"
    )


def _thumbnail(photograph: Path) -> str:
    import cv2

    from kernel_src.data.images import Framing, read_rgb, resize_rgb

    small = cv2.cvtColor(resize_rgb(read_rgb(photograph), Framing(*THUMBNAIL_PX)), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
