"""A competition as it was guessed: everything that its package says, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from build.new.guess import Guess
from build.new.kind import Kind
from build.new.layout import Layout

MOST_ALIKE = 5000  # ids in a package: the notebooks hold them


@dataclass(frozen=True, kw_only=True)
class Competition:
    """What the package of a competition is written from."""

    slug: str
    name: str  # of the package
    layout: Layout
    kind: Kind
    metric: str  # by the name of its option
    metric_guess: Guess
    inputs: tuple[str, ...]
    input_guesses: tuple[Guess, ...]
    group_columns: tuple[str, ...]
    group_guesses: tuple[Guess, ...]
    alike: tuple[tuple[str, ...], ...]
    groups: int  # how many there are in training, of columns and look-alikes together
    side_px: int  # of the small baseline's pictures
    side_guess: Guess

    def guesses(self) -> Iterator[Guess]:
        """Yield all guesses in the order of the package's files."""
        yield from self.layout.guesses
        yield from self.kind.guesses
        yield self.metric_guess
        yield from self.input_guesses
        yield from self.group_guesses
        yield self.side_guess

    def guess(self, name: str) -> Guess | None:
        """Return the guess of an attribute, if it is one."""
        return next((one for one in self.guesses() if one.name == name), None)


def joined_number(layout: Layout, columns: tuple[str, ...], alike: tuple[tuple[str, ...], ...]) -> int:
    """Return how many groups there are once rows of one column value, and look-alikes, are joined."""
    import numpy as np

    from kernel_src.competition.rules import joined_groups

    rows = [layout.folder.train.columns[column] for column in columns] or [layout.ids]
    names = np.array([" ".join(words) for words in zip(*rows, strict=True)])
    return len(set(joined_groups(names, layout.ids, alike).tolist()))
