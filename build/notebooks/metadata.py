"""The two JSON files that tell Kaggle what a notebook and a dataset are: their content, and what Kaggle would refuse.

Limits and key names: Kaggle's client 2.2.4 (`kernels_push`, `dataset_create_new`) and facts/kaggle-platform.md.
"""

import re
from collections.abc import Mapping
from typing import Any

from build.core.choosing import known_competition
from build.core.errors import Problem
from build.core.image import MACHINE_SHAPES, RETIRED_SHAPES
from build.notebooks.adopted_card import AdoptedCard
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.kernel_cards import KernelCard, slug_stem

OWNER = "OWNER"  # stands for the account in committed files; filled in when something is pushed
KERNEL_METADATA, DATASET_METADATA = "kernel-metadata.json", "dataset-metadata.json"
TITLE_CHARS = {"kernel": (5, 50), "dataset": (6, 50)}  # shortest and longest; the same for the slug
MODEL_FORM = "owner/model/framework/variation/version"
OWN_WEIGHTS_LICENCE = "other"  # weights trained on a competition's data: its rules decide, so a person should

SLUG_FORM = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
OWNED = re.compile(r"[A-Za-z0-9_-]+/[a-z0-9]+(?:-[a-z0-9]+)*")
MODEL_HANDLE = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9._-]+){3}/\d+")
# Of these Kaggle's rule is certain; how it transliterates the rest is not.
_SURE_TITLE = re.compile(r"[A-Za-z0-9 _.:-]*")
# Each key of kernel-metadata.json that must be there, and its type.
_KERNEL_KEYS: dict[str, type] = {
    "id": str,
    "title": str,
    "code_file": str,
    "language": str,
    "kernel_type": str,
    "is_private": bool,
    "enable_gpu": bool,
    "enable_internet": bool,
    "machine_shape": str,
    "dataset_sources": list,
    "competition_sources": list,
    "kernel_sources": list,
    "model_sources": list,
    "keywords": list,
}
_OPTIONAL_KEYS = {"id_no", "enable_tpu", "docker_image", "docker_image_pinning_type"}
# What each list of sources holds, and what such an entry looks like.
_SOURCES = {
    "dataset_sources": (OWNED, "owner/slug"),
    "competition_sources": (SLUG_FORM, "the competition's slug"),
    "kernel_sources": (OWNED, "owner/slug"),
    "model_sources": (MODEL_HANDLE, MODEL_FORM),
}


def slugify(title: str) -> str:
    """Make a title into a slug as Kaggle does: lower case, every run of anything but a–z and 0–9 becomes one hyphen.

    True for titles of letters, digits, spaces and `_ . : -`; how Kaggle transliterates others is not known.
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def kernel_slug(experiment: str, kernel: str) -> str:
    """Name a notebook on Kaggle, e.g. `i2b-v8-infer`."""
    return slugify(f"{slug_stem(experiment)}-{kernel}" if experiment else f"{facts().prefix}-{kernel}")


def slug_of(card: KernelCard) -> str:
    """Name a card's notebook on Kaggle; an adopted kernel has chosen its own name."""
    if isinstance(card, AdoptedCard):
        return card.slug
    if not card.experiment:  # the preflight's, which belongs to a competition alone
        return slugify(f"{facts(known_competition(card.competitions[0])).prefix}-{card.kernel}")
    return kernel_slug(card.experiment, card.kernel)


def title_of(slug: str) -> str:
    """Make the title whose slug is `slug`: the hyphens become spaces."""
    return slug.replace("-", " ")


def with_owner(source: str) -> str:
    """Put the placeholder before a slug that names no account; `someone/else` stays as it is."""
    return source if "/" in source else f"{OWNER}/{source}"


def kernel_metadata(card: KernelCard) -> dict[str, Any]:
    """Return the content of kernel-metadata.json: private, no internet, everything named that the notebook mounts."""
    slug = slug_of(card)
    return {
        "id": f"{OWNER}/{slug}",
        "title": title_of(slug),
        "code_file": f"{slug}.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": card.enable_gpu,
        "enable_internet": False,  # Kaggle's client takes true when the key is missing
        "machine_shape": card.machine_shape,
        "dataset_sources": [with_owner(slug) for slug in card.datasets],
        "competition_sources": list(card.competitions),
        "kernel_sources": [],
        "model_sources": list(card.models),
        "keywords": [],
    }


def dataset_metadata(slug: str, *, title: str = "", licence: str = OWN_WEIGHTS_LICENCE) -> dict[str, Any]:
    """Return the content of dataset-metadata.json; `licence` is Kaggle's name of it, e.g. `apache-2.0`."""
    return {
        "id": with_owner(slug),
        "title": title or title_of(slug.rpartition("/")[2]),
        "licenses": [{"name": licence}],
        "isPrivate": True,  # Kaggle's client makes a dataset public when an update lacks it
    }


def kernel_problems(metadata: Mapping[str, Any], where: str) -> list[Problem]:
    """List everything that is wrong with a kernel-metadata.json, given its content."""
    found: list[tuple[str, str]] = []  # what, cure
    for key, kind in _KERNEL_KEYS.items():
        if key not in metadata:
            cure = '"enable_internet": false; without it Kaggle switches it on' if key == "enable_internet" else ""
            found.append((f"{key} is missing", cure or f'add "{key}"'))
        elif not isinstance(metadata[key], kind):
            found.append((f"{key} is {metadata[key]!r}, not of type {kind.__name__}", "write it as JSON of that type"))
    for key in sorted(set(metadata) - set(_KERNEL_KEYS) - _OPTIONAL_KEYS):
        found.append((f"{key} is not a key that Kaggle reads", "correct the spelling or remove it"))
    if found:  # what follows reads the keys
        return [Problem(what=what, where=where, cure=cure) for what, cure in found]

    slug = metadata["id"].rpartition("/")[2]
    found += _name_faults("kernel", metadata["id"], metadata["title"])
    for key, wanted in (
        ("code_file", f"{slug}.ipynb"),
        ("language", "python"),
        ("kernel_type", "notebook"),
        ("is_private", True),
        ("enable_internet", False),
    ):
        if metadata[key] != wanted:
            found.append((f"{key} is {metadata[key]!r}", f"it must be {wanted!r}"))
    found += _shape_faults(metadata["machine_shape"], metadata["enable_gpu"])
    for key, (pattern, form) in _SOURCES.items():
        for entry in metadata[key]:
            if not isinstance(entry, str) or not pattern.fullmatch(entry):
                found.append((f"{key} has {entry!r}", f"an entry there is {form}"))
        if len({str(entry) for entry in metadata[key]}) != len(metadata[key]):
            found.append((f"{key} names something twice", "name it once"))
    return [Problem(what=what, where=where, cure=cure) for what, cure in found]


def dataset_problems(metadata: Mapping[str, Any], where: str) -> list[Problem]:
    """List everything that is wrong with a dataset-metadata.json, given its content."""
    found: list[tuple[str, str]] = []
    for key in ("id", "title"):
        if not isinstance(metadata.get(key), str):
            found.append((f"{key} is missing or not text", f'add "{key}"'))
    if not found:
        found += _name_faults("dataset", metadata["id"], metadata["title"])
    licences = metadata.get("licenses")
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in licences or []]
    if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        found.append((f"licenses is {licences!r}, but Kaggle requires exactly one", '"licenses": [{"name": "other"}]'))
    if metadata.get("isPrivate") is not True:
        found.append(("isPrivate is not true, so an update would make the dataset public", '"isPrivate": true'))
    subtitle = metadata.get("subtitle")
    if subtitle and not 20 <= len(subtitle) <= 80:
        found.append((f"subtitle has {len(subtitle)} characters", "20 to 80, or none"))
    return [Problem(what=what, where=where, cure=cure) for what, cure in found]


def _name_faults(kind: str, full_id: str, title: str) -> list[tuple[str, str]]:
    found = []
    owner, _, slug = full_id.rpartition("/")
    shortest, longest = TITLE_CHARS[kind]
    if not OWNED.fullmatch(full_id):
        found.append((f"id {full_id!r} is not owner/slug", f"e.g. {owner or OWNER}/{slugify(slug) or 'a-slug'}"))
    for name, text in (("slug", slug), ("title", title)):
        if not shortest <= len(text) <= longest:
            found.append((f"{name} {text!r} has {len(text)} characters", f"{shortest} to {longest} are allowed"))
    if not _SURE_TITLE.fullmatch(title):
        found.append((f"title {title!r} has characters whose slug is not certain", "use letters, digits and spaces"))
    if kind == "kernel" and slugify(title) != slug:
        what = f"title {title!r} makes the slug {slugify(title)!r}, not {slug!r}: Kaggle would answer 409"
        found.append((what, f'"title": "{title_of(slug)}"'))
    return found


def _shape_faults(shape: str, enable_gpu: bool) -> list[tuple[str, str]]:
    if shape in RETIRED_SHAPES:
        return [(f"machine_shape {shape} is {RETIRED_SHAPES[shape]}", "NvidiaTeslaT4")]
    if shape not in MACHINE_SHAPES:
        known = ", ".join(filter(None, MACHINE_SHAPES))
        return [(f"machine_shape {shape!r} is unknown: Kaggle would silently give another machine", f"one of {known}")]
    if enable_gpu and not shape:
        return [("enable_gpu without a machine_shape leaves the GPU to chance", '"machine_shape": "NvidiaTeslaT4"')]
    if shape and not enable_gpu:
        return [(f"machine_shape {shape} with enable_gpu false: one of them is wrong", '"enable_gpu": true')]
    return []
