"""## The facts of Paws

Its facts: how popular the photograph of a pet is, 1 to 100, in the layout of PetFinder.my's Pawpularity Contest. Twelve
yes-or-no columns describe each photograph, those of the test too.
"""

from collections.abc import Mapping
from typing import ClassVar

from kernel_src.competition.facts import Facts

DESCRIPTION = (
    *("Subject Focus", "Eyes", "Face", "Near", "Action", "Accessory"),
    *("Group", "Collage", "Human", "Occlusion", "Info", "Blur"),
)


class PawsFacts(Facts):
    """One number for each photograph."""

    competition: ClassVar[str] = "paws"
    slug: ClassVar[str] = "petfinder-pawpularity-score"
    title: ClassVar[str] = "Paws"
    prefix: ClassVar[str] = "paws"
    targets: ClassVar[tuple[str, ...]] = ("Pawpularity",)
    lowest: ClassVar[float] = 1.0
    highest: ClassVar[float] = 100.0
    fallback: ClassVar[Mapping[str, float]] = {"Pawpularity": 38.0}
    inputs: ClassVar[tuple[str, ...]] = DESCRIPTION
    id_column: ClassVar[str] = "Id"
    suffix: ClassVar[str] = ".jpg"
