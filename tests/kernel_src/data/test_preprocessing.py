"""Mean, deviation and interpolation are the backbone's own, and normalising is plain arithmetic."""

import json

import pytest
import timm
import torch

from kernel_src.bundle.bundles import framings_of, preprocessing_from_json
from kernel_src.data.images import Framing
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.network import Encoder, PooledHead, RegressorHead
from kernel_src.recipes.pictures import Pictures, SideBySide
from kernel_src.recipes.predictor import Predictor


@pytest.mark.parametrize(
    ("backbone", "mean", "interpolation"),
    [
        ("test_vit", (0.5, 0.5, 0.5), "bicubic"),
        ("test_efficientnet", (0.485, 0.456, 0.406), "bicubic"),
        ("resnet34.tv_in1k", (0.485, 0.456, 0.406), "bilinear"),
    ],
)
def test_each_backbone_brings_its_own(backbone: str, mean: tuple[float, ...], interpolation: str) -> None:
    own = preprocessing_of(backbone)
    assert (own.mean, own.interpolation) == (mean, interpolation)


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet", "resnet34"])
def test_the_name_tells_what_the_built_network_would(backbone: str) -> None:
    config = timm.data.resolve_model_data_config(timm.create_model(backbone, num_classes=0))
    own = preprocessing_of(backbone)
    assert (own.mean, own.std, own.interpolation) == (config["mean"], config["std"], config["interpolation"])


def test_a_trained_network_is_given_one_canvas_and_frozen_features_each_part_at_each_size() -> None:
    own = preprocessing_of("resnet34.tv_in1k")
    pictures = Pictures(40, 50, parts=("left", "right"), scales=(1.0, 0.5), join=SideBySide(), crop_bottom=0.1)
    assert own.canvas_framing(pictures) == Framing(40, 100, "bilinear", "whole", 0.1)
    assert own.part_framings(pictures) == (
        Framing(40, 50, "bilinear", "left", 0.1),
        Framing(40, 50, "bilinear", "right", 0.1),
        Framing(20, 25, "bilinear", "left", 0.1),
        Framing(20, 25, "bilinear", "right", 0.1),
    )
    for head, framings in ((PooledHead(), 1), (RegressorHead(), 4)):
        experiment = Predictor(name="some", encoder=Encoder("resnet34", weights="w"), pictures=pictures, head=head)
        assert len(framings_of(experiment, own)) == framings
        assert {framing.crop_bottom for framing in framings_of(experiment, own)} == {0.1}


def test_it_survives_json_and_refuses_what_is_missing_or_cannot_be_done() -> None:
    own = preprocessing_of("test_vit")
    assert preprocessing_from_json(json.loads(json.dumps(own.as_json()))) == own
    with pytest.raises(ValueError, match="lacks std"):
        preprocessing_from_json({"mean": [0, 0, 0], "interpolation": "bicubic"})
    with pytest.raises(ValueError, match="'lanczos' is not one of bicubic, bilinear"):
        preprocessing_from_json(own.as_json() | {"interpolation": "lanczos"})


def test_normalising_divides_by_255_then_subtracts_then_divides() -> None:
    preprocessing = Preprocessing(mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    pictures = torch.tensor([[255, 51, 0]], dtype=torch.uint8).view(1, 3, 1, 1)
    normalised = preprocessing.normalise(pictures)
    assert normalised.dtype == torch.float32
    assert normalised.flatten().tolist() == pytest.approx([1.0, 0.2, -0.5])
