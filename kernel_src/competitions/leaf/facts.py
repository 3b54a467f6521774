"""## The facts of Leaf

Its facts: photographs of ten classes in the layout of Cassava Leaf Disease Classification. There is no test.csv: the
sample submission names the photographs.
"""

from collections.abc import Mapping
from typing import ClassVar

from kernel_src.competition.facts import Facts

LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
CLASSES = tuple(f"class_{label}" for label in LABELS)


class LeafFacts(Facts):
    """One label for each photograph, whose id is the name of its file."""

    competition: ClassVar[str] = "leaf"
    slug: ClassVar[str] = "leaf-classification"
    title: ClassVar[str] = "Leaf"
    prefix: ClassVar[str] = "leaf"
    targets: ClassVar[tuple[str, ...]] = CLASSES
    labels: ClassVar[tuple[str, ...]] = LABELS
    are_classes: ClassVar[bool] = True
    answer: ClassVar[str] = "label"
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0
    fallback: ClassVar[Mapping[str, float]] = {name: 1 / len(CLASSES) for name in CLASSES}
    test_csv: ClassVar[str] = ""
    train_folder: ClassVar[str] = "train_images"
    test_folder: ClassVar[str] = "test_images"
    id_column: ClassVar[str] = "image_id"
    answer_columns: ClassVar[tuple[str, ...]] = ("label",)
