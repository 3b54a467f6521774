"""Mean and deviation are the backbone's own, and normalising is plain arithmetic."""

import pytest
import timm
import torch

from kernel_src.common.preprocessing import Preprocessing, preprocessing_of


@pytest.mark.parametrize(
    ("backbone", "mean"), [("test_vit", (0.5, 0.5, 0.5)), ("test_efficientnet", (0.485, 0.456, 0.406))]
)
def test_each_backbone_brings_its_own_numbers(backbone: str, mean: tuple[float, ...]) -> None:
    assert preprocessing_of(timm.create_model(backbone, num_classes=0)).mean == mean


def test_normalising_divides_by_255_then_subtracts_then_divides() -> None:
    preprocessing = Preprocessing(mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    pictures = torch.tensor([[255, 51, 0]], dtype=torch.uint8).view(1, 3, 1, 1)
    normalised = preprocessing.normalise(pictures)
    assert normalised.dtype == torch.float32
    assert normalised.flatten().tolist() == pytest.approx([1.0, 0.2, -0.5])
