"""The demo's one page: the scores beside their floors, then every hidden photograph with prediction and truth."""

from pathlib import Path
from typing import Any

import numpy as np

from build.core.pages import render
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import SUBMISSION_FILE, TARGETS
from kernel_src.runtime.files import write_text


def write_page(demo: Path, result: dict[str, Any]) -> Path:
    """Write `index.html` into the demo's folder, self-contained, and return its path."""
    from build.demo.score import read_submission
    from kernel_src.competitions.biomass.tables import read_train, target_array

    hidden = read_train(demo / "hidden" / "labels.csv")
    names = hidden["image_id"].tolist()
    predicted = read_submission(demo / "rehearsal" / "working" / SUBMISSION_FILE, names)
    truth = target_array(hidden)
    order = np.argsort(-np.abs(predicted - truth)[:, -1])  # the largest errors first: they teach the reader something
    paths = [demo / "hidden" / path for path in hidden[IMAGE_COLUMN]]
    photographs = [{"name": names[i], "path": paths[i], "predicted": predicted[i], "truth": truth[i]} for i in order]
    page = demo / "index.html"
    text = render("build/demo/page.html.jinja", r=result, photographs=photographs, targets=TARGETS)
    write_text(page, str(text))
    return page
