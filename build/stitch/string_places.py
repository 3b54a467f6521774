"""Where in a string a word is meant, when the tree does not tell: the places for which the string reads as it should.

Python 3.11 does not say where a name stands inside an f-string, and no version says it of an annotation in quotes. The
same word may stand there as text, as an attribute or as a local name: each choice of places is tried.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, islice

from build.stitch.drafts import Edit

_MOST_TRIES = 2000
Position = tuple[int, int]  # line from 1, column in characters


def find_places(
    lines: Sequence[str],
    first: Position,
    last: Position,
    wanted: Mapping[tuple[str, str], int],
    is_right: Callable[[str], bool],
) -> list[Edit] | None:
    """Return the edits that make a string right; None where no choice of places does.

    Args:
        lines: of the module.
        first: where the string begins.
        last: where it ends.
        wanted: old and new word, and how many of the old ones become new ones.
        is_right: whether the string, with its quotes, reads as it should.
    """
    choices = [
        list(islice(combinations(_found(lines, first, last, old, new), count), _MOST_TRIES))
        for (old, new), count in wanted.items()
    ]
    for edits in islice(_each(choices), _MOST_TRIES):
        try:
            if is_right(_edited(lines, first, last, edits)):
                return edits
        except (SyntaxError, ValueError):
            continue
    return None


def _found(lines: Sequence[str], first: Position, last: Position, old: str, new: str) -> list[Edit]:
    return [
        Edit((line, one.start()), (line, one.end()), new)
        for line in range(first[0], last[0] + 1)
        for one in re.finditer(rf"(?<!\w){re.escape(old)}(?!\w)", lines[line - 1])
        if first <= (line, one.start()) < last
    ]


def _each(choices: Sequence[Sequence[tuple[Edit, ...]]]) -> Iterator[list[Edit]]:
    """Yield every way to take one of each."""
    if not choices:
        yield []
        return
    for one in choices[0]:
        for rest in _each(choices[1:]):
            yield [*one, *rest]


def _edited(lines: Sequence[str], first: Position, last: Position, edits: Sequence[Edit]) -> str:
    text = [*lines[first[0] - 1 : last[0]]]
    text[-1] = text[-1][: last[1]]
    for edit in sorted(edits, reverse=True):
        line = text[edit.start[0] - first[0]]
        text[edit.start[0] - first[0]] = line[: edit.start[1]] + edit.text + line[edit.end[1] :]
    text[0] = text[0][first[1] :]
    return "\n".join(text)
