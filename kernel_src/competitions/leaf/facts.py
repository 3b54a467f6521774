"""## The facts of Leaf

Its facts: photographs of ten classes in the layout of Cassava Leaf Disease Classification. There is no test.csv: the
sample submission names the photographs.
"""

from collections.abc import Mapping
from typing import ClassVar

from kernel_src.competition.facts import Facts

CLASSES = tuple(f"class_{number}" for number in range(10))


class LeafFacts(Facts):
    """One label for each photograph, whose id is the name of its file."""

    competition: ClassVar[str] = "leaf"
    slug: ClassVar[str] = "leaf-classification"
    title: ClassVar[str] = "Leaf"
    prefix: ClassVar[str] = "leaf"
    targets: ClassVar[tuple[str, ...]] = CLASSES
    labels: ClassVar[tuple[str, ...]] = tuple(name.removeprefix("class_") for name in CLASSES)
    are_classes: ClassVar[bool] = True
    answer: ClassVar[str] = "label"
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0
    fallback: ClassVar[Mapping[str, float]] = dict.fromkeys(CLASSES, 1 / len(CLASSES))
    test_csv: ClassVar[str] = ""
    train_folder: ClassVar[str] = "train_images"
    test_folder: ClassVar[str] = "test_images"
    id_column: ClassVar[str] = "image_id"
    answer_columns: ClassVar[tuple[str, ...]] = ("label",)
