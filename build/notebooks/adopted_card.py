"""The card of a kernel that somebody wrote elsewhere: a script in a folder of its own, which stays where it is.

To whoever builds, checks, rehearses or pushes it is a kernel card like ours. It is addressed by its slug, in the place
of an experiment's name, and has one notebook: `infer` where a run leaves a submission, `train` where it leaves files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kernel_src.competitions.kernel_cards import KernelCard

Mode = Literal["auto", "inline", "files"]


def wheels_slug(slug: str) -> str:
    """Name the dataset that carries the packages of an adopted kernel."""
    return f"{slug}-wheels"


@dataclass(frozen=True, kw_only=True)
class AdoptedCard(KernelCard):
    """What `notebooks/<slug>/adopted.json` says, checked."""

    folder: Path  # that imports start from, absolute
    main: str  # the script, relative to it
    arguments: str = ""  # of the script, as for a shell
    mode: Mode = "auto"
    data: tuple[str, ...] = ()  # globs of text files that are carried although no code names them
    without: tuple[str, ...] = ()  # globs of text files that are left out
    requirements: str = ""  # the file that the wheels were chosen from
    wheels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # Python → file name → sha256

    @property
    def slug(self) -> str:
        """The name on Kaggle, and what it is addressed by here."""
        return self.experiment

    @property
    def trains(self) -> bool:
        """Whether a run leaves files to be fetched instead of a submission."""
        return self.kernel == "train"
