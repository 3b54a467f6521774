"""The model card of a weight dataset: README.md beside the weights, for whoever finds the dataset without the kit.

It is written from the bundle's own config, so it names no account, no path and no date: the same run gives the same
card. The manifest lists it like every other file, since the manifest's hash stands for all bytes of a dataset
(build/kaggle/dataset_folders.py); so the card names all hashes but its own and the manifest's. No notebook reads it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.core.bundle_files import missing_folds_text
from build.notebooks.metadata import DATASET_METADATA, OWN_WEIGHTS_LICENCE
from build.scores.cross_validation import CrossValidation, is_competitions_own, is_frozen
from build.scores.words import groups_name, metric_name
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.runtime.weight_sources import SOURCE_OF

CARD_FILE = "README.md"
# A backslash at the end of a line: the line goes on.
CARD = """# {{ slug }}

> Weights of the experiment `{{ e.name }}`: {{ model_words }}.

## What

{% set size = "pictures of %s x %s px" % (e.pictures.height_px, e.pictures.width_px) %}
{% if frozen %}
- A regressor on frozen features of `{{ e.encoder.timm }}`, {{ size }}; the backbone's own weights are not in here
{% else %}
- {{ config.folds | length }} networks, one per fold, averaged: `{{ e.encoder.timm }}`, {{ size }}, \
{{ "probabilities of classes" if kit.are_classes else "a head per target" }}\
{{ ". " ~ missing if missing }}
{% endif %}
{% if config.depth %}
- beside a frozen depth model (`{{ e.depth.weights }}`), stored once
{% endif %}
- Predicts {% for target in kit.targets %}`{{ target }}`{{ ", " if not loop.last }}{% endfor %}\
{{ " " ~ review.targets_note if review.targets_note }}
{% if frozen %}
- safetensors, no pickles; full precision; `regress.json` says how it was chosen
{% else %}
- safetensors, no pickles; matrices in half precision, vectors in single
{% endif %}
- Trained from sources `{{ config.source_sha256 or "unknown" }}` with \
{% for name, number in (config.versions or {}).items() %}{{ name }} {{ number }}{{ ", " if not loop.last }}{% endfor %}


## Trained on

{% if real %}
- The training photographs of [{{ kit.title }}]({{ kit.url }}): \
{% elif review.data_means %}
- Photographs in the layout of {{ kit.title }}, but not its own: the targets' means differ from those \
of its {{ kit.train_csv }} (the kit's demo paints its photographs); \
{% else %}
- Photographs in the layout of [{{ kit.title }}]({{ kit.url }}): \
{% endif %}
{{ cv.images }} photographs{{ " of %s %s" % (cv.groups, groups_name) if cv.groups and has_groups }} were judged \
out of fold
{% if e.encoder.weights %}
- {{ "Frozen backbone:" if frozen else "Started from" }} `{{ e.encoder.weights }}`\
{% if start %} ({{ start.hub ~ ", " if start.hub }}{{ start.licence }}){% endif %}

{% else %}
- Started from random weights
{% endif %}
{% if e.data.external %}
- External photographs, for training only: `{{ e.data.external.dataset }}`, targets times \
{{ e.data.external.area_factor }}
{% endif %}
{% if e.data.pseudo %}
- Pseudo-labels, for training only: `{{ e.data.pseudo.dataset }}`, weight {{ e.data.pseudo.weight }}
{% endif %}

## Folds

{{ cv.folds }}. {% if frozen %}The regressor in here was fitted on all groups afterwards.
{% elif e.keep.folds %}{{ whole }}; \
one of {{ e.keep.folds }} inner folds of the training rows picks the epoch.
{% else %}{{ whole }}; the last epoch is kept.
{% endif %}

## Scores

| | {{ metric }} | |
|---|---|---|
| **out of fold** | **{{ "%.4f" % cv.score }}** | {{ cv.formula }}; {% if cv.low is not none and cv.high is not none %}\
95 % interval {{ "%.3f to %.3f" % (cv.low, cv.high) }}, \
{{ "group jackknife over %s groups" % cv.groups if has_groups else "jackknife" }} |
{% else %}interval not computed: no {{ kit.train_csv }} with these images was at hand |
{% endif %}
{% if half %}
| the same in half precision | {{ "%.4f" % half.score }} | \
largest change of a prediction {{ "%g" % half.largest_change_g }}{{ " " ~ kit.unit if kit.unit }} |
{% endif %}
{% for name, value in (cv.floors or reference_points).items() %}
| {{ name }} | {{ "%.3f" % value }} | needs no photograph; \
on the {{ "same" if cv.floors else review.real_words }} images |
{% endfor %}

## Intended use and limits

- Made for the inference notebook of `{{ e.name }}` in {{ kit.title }}: it compares every file with \
`manifest.json`, loads strictly{{ review.card_finish }}
- The score is that of {{ review.group_word ~ "s" if has_groups else "photographs" }} which the fold had not seen, \
{{ cv.images }} images in all
{% for line in review.card_limits %}
- {{ line }}
{% endfor %}

## Licence

- These weights: `{{ licence }}`{% if own_licence %} (the competition's rules decide what may be done with weights \
trained on its data){% endif %}

{% if real %}
- The photographs, which are not part of this dataset: {{ kit.licence }}
{% endif %}
{% for source in (start, depth) if source %}
- `{{ source.dataset }}`: {{ source.licence }}
{% endfor %}

## Files

| file | bytes | sha256 |
|---|---|---|
{% for name, entry in files %}
| `{{ name }}` | {{ "{:,}".format(entry.bytes) }} | `{{ entry.sha256 }}` |
{% endfor %}

`manifest.json` lists these and this card; a notebook that finds a file of another hash says so and does not use it.
"""


def model_card(
    config: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    cv: CrossValidation,
    *,
    slug: str,
    licence: str,
) -> str:
    """Write the card of a bundle; `files` are its other files as a manifest describes them."""
    from jinja2 import Template

    experiment = config["experiment"]
    return Template(CARD, trim_blocks=True, keep_trailing_newline=True).render(
        slug=slug,
        config=config,
        e=experiment,
        kit=facts(),
        review=review(),
        metric=metric_name(),
        has_groups=review().has_groups,
        groups_name=groups_name(),
        model_words=review().model_words or f"what {facts().title} asks of a photograph",
        whole=f"Whole {groups_name()} lie in one fold" if review().has_groups else "Each photograph lies in one fold",
        frozen=is_frozen(experiment),
        real=is_competitions_own(config.get("target_mean", {})),
        missing=missing_folds_text(config),
        start=SOURCE_OF.get(experiment["encoder"]["weights"]),
        depth=SOURCE_OF.get((experiment["depth"] or {}).get("weights", "")),
        half=config["oof"].get("fp16"),
        cv=cv,
        reference_points=review().published_points,
        licence=licence,
        own_licence=licence == OWN_WEIGHTS_LICENCE,
        files=sorted(files.items()),
    )


def licence_of(slug: str, root: Path) -> str:
    """Return the licence that the committed datasets_meta/<slug>/ names, where a person may have chosen one."""
    path = root / "datasets_meta" / slug / DATASET_METADATA
    if not path.is_file():
        return OWN_WEIGHTS_LICENCE
    return str(json.loads(path.read_bytes())["licenses"][0]["name"])
