"""The kernel cards list what each notebook mounts."""

import pytest

from kernel_src.competitions.held_recipes import COMPETITION_OF, EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, facts_of, kernel_card, slug_stem


def test_the_cards_list_what_each_notebook_mounts() -> None:
    for experiment in (one for one in EXPERIMENTS.values() if not one.is_frozen):
        name = experiment.name
        training_card, inference_card = (kernel_card(name, kernel) for kernel in ("train", "infer"))
        depth, external, pseudo = experiment.depth, experiment.data.external, experiment.data.pseudo
        slugs = (depth and depth.weights, external and external.dataset, pseudo and pseudo.dataset)
        assert training_card.datasets == tuple(slug for slug in (experiment.encoder.weights, *slugs) if slug)
        parts = training_card.parameters["PARTS"]
        assert training_card.parameters == {"EXPERIMENT": name, "SOURCE_SHA256": "", "PARTS": parts}
        assert inference_card.datasets == tuple(inference_card.parameters["BUNDLES"]) == (bundle_slug(name),)
        assert training_card.competitions == inference_card.competitions == (facts_of(name).slug,)
        if COMPETITION_OF[name] == "biomass":
            assert bundle_slug(name) == f"i2b-{name.replace('_', '-')}-weights"
            assert training_card.competitions == ("csiro-biomass",)
    with pytest.raises(KeyError, match="'blend' is not one of train, infer, the notebooks of v1"):
        kernel_card("v1", "blend")
    with pytest.raises(KeyError, match="v99"):
        kernel_card("v99", "train")


def test_a_name_that_begins_with_the_prefix_does_not_repeat_it() -> None:
    assert [slug_stem(name) for name in ("v5_componly", "leaf", "paws")] == ["i2b-v5-componly", "leaf", "paws"]


def test_frozen_features_have_a_notebook_of_their_own_and_mount_their_backbone_beside_the_bundle() -> None:
    made = kernel_card("frozen_dinov2", "features")
    assert made.datasets == ("i2b-vit-base-patch14-dinov2",) and made.competitions == ("csiro-biomass",)
    assert made.parameters == {"EXPERIMENT": "frozen_dinov2", "SOURCE_SHA256": "", "PARTS": ("biomass", "hub_names")}
    assert kernel_card("gold_frozen", "features").parameters["PARTS"] == ("biomass",)
    card = kernel_card("frozen_dinov2", "infer")
    assert card.bundles == ("i2b-frozen-dinov2-weights",)
    assert card.datasets == ("i2b-frozen-dinov2-weights", "i2b-vit-base-patch14-dinov2")
    with pytest.raises(KeyError, match="'train' is not one of features, infer, the notebooks of frozen_dinov2"):
        kernel_card("frozen_dinov2", "train")
