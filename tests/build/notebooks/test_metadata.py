"""What Kaggle is told about notebooks and datasets, and what it would refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.notebooks.metadata import (
    dataset_metadata,
    dataset_problems,
    kernel_metadata,
    kernel_problems,
    kernel_slug,
    slugify,
    title_of,
)
from kernel_src.competitions.kernel_cards import KernelCard

CARD = KernelCard(
    experiment="v8",
    kernel="infer",
    parameters={},
    datasets=("i2b-v8-weights", "someone/their-data"),
    competitions=("csiro-biomass",),
    machine_shape="NvidiaTeslaT4",
    enable_gpu=True,
)


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("i2b v8 infer", "i2b-v8-infer"),
        ("A_b.c:d", "a-b-c-d"),  # facts/kaggle-platform.md: `_ . :` become `-`
        ("two  spaces -- and dashes", "two-spaces-and-dashes"),
        ("  V8!  ", "v8"),
        ("", ""),
    ],
)
def test_slugify_follows_kaggles_rule(title: str, slug: str) -> None:
    assert slugify(title) == slug


@given(st.text(alphabet="abcXYZ019 _.:-", max_size=40))
def test_slugify_agrees_with_the_function_kaggles_client_uses(title: str) -> None:
    theirs = pytest.importorskip(
        "slugify", reason="python-slugify comes with the kaggle client, which is not installed"
    )
    assert slugify(title) == theirs.slugify(title)


def test_a_notebooks_slug_names_kit_experiment_and_kernel() -> None:
    assert kernel_slug("v8", "infer") == "i2b-v8-infer"
    assert kernel_slug("V8_dino.b", "train") == "i2b-v8-dino-b-train"


def test_the_title_made_for_a_slug_gives_that_slug_back() -> None:
    assert slugify(title_of("i2b-v8-dino-b-train")) == "i2b-v8-dino-b-train"


def test_a_kernel_is_private_offline_and_lists_what_its_card_mounts() -> None:
    assert kernel_metadata(CARD) == {
        "id": "OWNER/i2b-v8-infer",
        "title": "i2b v8 infer",
        "code_file": "i2b-v8-infer.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",
        "dataset_sources": ["OWNER/i2b-v8-weights", "someone/their-data"],
        "competition_sources": ["csiro-biomass"],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
    }


def test_nothing_is_wrong_with_what_the_kit_writes() -> None:
    assert kernel_problems(kernel_metadata(CARD), "k") == []
    assert dataset_problems(dataset_metadata("i2b-v8-weights"), "d") == []
    assert dataset_problems(dataset_metadata("someone/their-data", licence="apache-2.0"), "d") == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"is_private": False}, "is_private is False"),
        ({"is_private": "true"}, "not of type bool"),
        ({"enable_internet": True}, "enable_internet is True"),
        ({"title": "Another title"}, "makes the slug 'another-title'"),
        ({"title": "i2b v8 inférence"}, "characters whose slug is not certain"),
        ({"id": "OWNER/abc", "title": "abc", "code_file": "abc.ipynb"}, "5 to 50"),
        ({"id": "i2b-v8-infer"}, "is not owner/slug"),
        ({"code_file": "other.ipynb"}, "code_file is 'other.ipynb'"),
        ({"kernel_type": "script"}, "kernel_type is 'script'"),
        ({"language": "r"}, "language is 'r'"),
        ({"machine_shape": "Gpu T4 x2"}, "machine_shape 'Gpu T4 x2' is unknown"),
        ({"machine_shape": "NvidiaTeslaP100"}, "retired"),
        ({"machine_shape": ""}, "leaves the GPU to chance"),
        ({"enable_gpu": False}, "one of them is wrong"),
        ({"dataset_sources": ["no-owner"]}, "dataset_sources has 'no-owner'"),
        ({"competition_sources": ["c/csiro-biomass"]}, "competition_sources has"),
        ({"model_sources": ["a/b/c"]}, "model_sources has"),
        ({"dataset_sources": ["a/b-c", "a/b-c"]}, "names something twice"),
        ({"enable_intrenet": False}, "not a key that Kaggle reads"),
    ],
)
def test_each_fault_in_a_kernels_description_is_found(change: dict[str, Any], what: str) -> None:
    problems = kernel_problems({**kernel_metadata(CARD), **change}, "kernel-metadata.json")
    assert any(what in str(problem) for problem in problems), problems
    assert all(problem.where == "kernel-metadata.json" and problem.cure for problem in problems)


def test_a_missing_internet_switch_is_a_fault_because_kaggle_takes_it_for_on() -> None:
    metadata = kernel_metadata(CARD)
    del metadata["enable_internet"]
    assert "switches it on" in str(kernel_problems(metadata, "k")[0])


def test_a_cpu_notebook_and_a_pinned_model_are_fine() -> None:
    metadata = kernel_metadata(CARD) | {"machine_shape": "", "enable_gpu": False}
    metadata["model_sources"] = ["google/vit-base/pyTorch/patch16-224/2"]
    assert kernel_problems(metadata, "k") == []


def test_all_faults_are_reported_at_once() -> None:
    change = {"is_private": False, "enable_internet": True, "machine_shape": "Gpu"}
    assert len(kernel_problems(kernel_metadata(CARD) | change, "k")) == 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"licenses": []}, "exactly one"),
        ({"licenses": [{"name": "CC0-1.0"}, {"name": "other"}]}, "exactly one"),
        ({"licenses": None}, "exactly one"),
        ({"title": "short"}, "6 to 50"),
        ({"title": "x" * 51}, "6 to 50"),
        ({"id": "OWNER/abcde"}, "6 to 50"),
        ({"id": "OWNER/Upper-Case"}, "is not owner/slug"),
        ({"isPrivate": False}, "make the dataset public"),
        ({"subtitle": "too short"}, "20 to 80"),
        ({"title": None}, "title is missing"),
    ],
)
def test_each_fault_in_a_datasets_description_is_found(change: dict[str, Any], what: str) -> None:
    problems = dataset_problems({**dataset_metadata("i2b-v8-weights"), **change}, "d")
    assert any(what in str(problem) for problem in problems), problems


def test_a_person_may_give_a_dataset_a_title_of_its_own() -> None:
    metadata = dataset_metadata("i2b-v8-weights", title="Weights of V8") | {"subtitle": "five folds of a small network"}
    assert dataset_problems(metadata, "d") == []
