"""From a folder of files to a competition as it was guessed: tables, answers, groups, sizes."""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from build.new.competition import MOST_ALIKE, Competition, joined_number
from build.new.folder import read_folder, refused
from build.new.grouping import read_groups
from build.new.guess import Guess
from build.new.kind import read_kind
from build.new.layout import Layout, inputs_of, read_layout
from build.new.lookalikes import Alike, find_alike
from build.new.metric_choice import checked_metric, choose_metric

LARGEST_SIDE_PX, SMALLEST_SIDE_PX, STEP_PX = 128, 64, 32
SIZED = 20  # pictures whose size is looked at
Advance = Callable[[int, int], None]
Progress = Callable[[], AbstractContextManager[Advance]]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was said by options, and is not guessed; empty: it is."""

    id_column: str = ""
    target: str = ""
    kind: str = ""
    metric: str = ""
    group: str | None = None  # empty: no column makes groups
    look_s: float = 60.0  # for look-alikes; 0: they are not looked for


def look(data: Path, slug: str, name: str, said: Said, *, may_ask: bool, progress: Progress) -> Competition:
    """Look at the files and guess everything; `progress` opens a bar, once nothing is left to be asked.

    Raises:
        UsageError: there is no such folder, or an option is not possible.
        CheckFailed: no package can be made of these files; says why, and what to do.
    """
    checked_metric(said.metric)
    layout = read_layout(read_folder(data), said.id_column)
    kind = read_kind(layout, kind=said.kind, metric=said.metric, target=said.target)
    metric, metric_guess = choose_metric(kind.kind, said.metric, may_ask)
    taken = (*kind.targets, kind.label_column)
    columns, group_guesses = read_groups(layout, taken, said.group)
    inputs, input_guesses = inputs_of(layout, (*taken, *columns))
    paths = layout.training_paths()
    with progress() as advance:
        alike, alike_guess = _alike(data, paths, said.look_s, advance)
    groups = joined_number(layout, columns, alike)
    if groups < 2:
        what = "all training photographs are one group: no fold could be held out"
        raise refused(data, what, '--group "" keeps no column\'s rows together')
    side_px, side_guess = _side(layout, list(paths.values()))
    return Competition(
        slug=slug,
        name=name,
        layout=layout,
        kind=kind,
        metric=metric,
        metric_guess=metric_guess,
        inputs=inputs,
        input_guesses=tuple(input_guesses),
        group_columns=columns,
        group_guesses=(*group_guesses, alike_guess),
        alike=alike,
        groups=groups,
        side_px=side_px,
        side_guess=side_guess,
    )


def _alike(
    data: Path, paths: dict[str, str], limit_s: float, advance: Advance
) -> tuple[tuple[tuple[str, ...], ...], Guess]:
    """Look for photographs that are nearly the same, in bounded time."""
    otherwise = "leave alike out, or add groups of ids"
    if not limit_s:
        why = "not looked for, as you said (--look-s 0)"
        return (), Guess(name="alike", value=0, why=why, otherwise=otherwise, is_doubtful=True)
    found = find_alike(data, paths, limit_s, advance)
    if found.unreadable:
        what = f"{len(found.unreadable)} photographs cannot be read, such as {paths[found.unreadable[0]]}"
        raise refused(data, what, "download the files again")
    return _kept(found), _alike_guess(found, otherwise, limit_s)


def _kept(found: Alike) -> tuple[tuple[str, ...], ...]:
    return found.groups if sum(map(len, found.groups)) <= MOST_ALIKE else ()


def _alike_guess(found: Alike, otherwise: str, limit_s: float) -> Guess:
    many = sum(map(len, found.groups))
    missed = found.looked_at < found.wanted
    some = f"in {limit_s:.0f} s only {found.looked_at} of {found.wanted} photographs were looked at; " if missed else ""
    some += f"{found.looked_at} photographs compared: " if not missed else ""
    if found.is_too_plain:
        why = f"{some}they are too plain to tell nearly equal ones from others"
    elif not found.groups:
        why = f"{some}none are nearly the same"
    elif many > MOST_ALIKE:
        why = (
            f"{some}{many} are nearly the same as another, too many for a notebook: choose group_columns that hold them"
        )
    else:
        first = ", ".join(found.groups[0][:3])
        why = f"{some}{many} in {len(found.groups)} groups are nearly the same, such as {first}"
    doubtful = missed or found.is_too_plain or many > MOST_ALIKE
    return Guess(name="alike", value=len(found.groups), why=why, otherwise=otherwise, is_doubtful=doubtful)


def _side(layout: Layout, paths: list[str]) -> tuple[int, Guess]:
    """Return the side of the small baseline's pictures: as large as they are, within what a laptop trains."""
    from PIL import Image

    sides = []
    for path in paths[:: max(1, len(paths) // SIZED)][:SIZED]:
        with Image.open(layout.folder.root / path) as picture:
            sides.append(min(picture.size))
    middle = statistics.median(sides)
    side = int(min(LARGEST_SIDE_PX, max(SMALLEST_SIDE_PX, STEP_PX * round(middle / STEP_PX))))
    why = f"the photographs' shorter side has {middle:.0f} px (median of {len(sides)})"
    return side, Guess(name="pictures", value=side, why=why, otherwise="more pixels, for details; fewer, for speed")
