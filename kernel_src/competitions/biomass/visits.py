"""## Visits

State and Sampling_Date say which photographs were taken on one visit, and so must stay together. A stray blank or a
second way to write a date would make two visits of one, and no score would show it: what means the same is written in
one way, and what can be read in two ways, or is missing, is refused.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date

import pandas as pd

from kernel_src.competitions.biomass.constants import DATE_COLUMN, STATE_COLUMN
from kernel_src.runtime.untrusted import quoted

SHOWN_VALUES = 3  # of the faulty ones, in a message
# What people and programs write where nothing is known; no state is called so.
_MISSING_WORDS = ("", "-", "--", "?", ".", "na", "n/a", "#n/a", "nan", "nat", "none", "null", "unknown", "missing")
_STATE_NAMES = {
    "newsouthwales": "nsw",
    "tasmania": "tas",
    "victoria": "vic",
    "westernaustralia": "wa",
    "southaustralia": "sa",
    "queensland": "qld",
    "northernterritory": "nt",
    "australiancapitalterritory": "act",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "sept", "september"),
    *("october", "november", "december"),
)
_TIME = r"(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
_MIDNIGHT = re.compile(r"[T ]0?0:00(?::00(?:\.0+)?)?(?:Z|[+-])")
_DASHES = {0x2010: "-", 0x2011: "-", 0x2012: "-", 0x2013: "-", 0x2014: "-", 0x2212: "-"}
_UNSEEN = ("Cf", "Cc")  # Unicode's categories of format and control characters
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}|(\d{{4}})(\d{{2}})(\d{{2}})")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}")
_MONTH_NAMED = re.compile(r"(?:(\d{1,2})[ -]+)?([A-Za-z]{3,9})\.?[ -]+(?:(\d{1,2}),? +)?(\d{4})")


def tidy_visits(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the table with State and Sampling_Date written in one way: no stray blanks, dates as `2015/9/4`.

    `where` names the table in messages. Dates may be written with the year first, with the month's name, or with the
    year last where other dates of the table show whether the day or the month comes first.

    Raises:
        ValueError: a state or a date is missing, no date, or can be read in two ways; the values are shown.
    """
    states = _tidy_states(table[STATE_COLUMN], where)
    dates = _tidy_dates(table[DATE_COLUMN], where)
    tidy = table.copy()
    tidy[STATE_COLUMN], tidy[DATE_COLUMN] = states, dates
    return tidy


def visit_readings(table: pd.DataFrame) -> dict[str, str]:
    """Return every way in which the visits of a table can be read, each with State and date as it is written there.

    To hold two tables against each other that were written by different people: a date that may be the 4th of September
    or the 9th of April is both, and one that is none stands as it is.
    """
    readings: dict[str, str] = {}
    for state, when in table[[STATE_COLUMN, DATE_COLUMN]].drop_duplicates().itertuples(index=False):
        text = _seen(when)
        days = {str(day) for day_first in (True, False) if (day := _date_of(text, day_first))} or {text.casefold()}
        readings.update({f"{_state_key(_seen(state))} {day}": f"{state} {when}" for day in sorted(days)})
    return readings


def _tidy_states(column: pd.Series, where: str) -> list[str]:
    """Drop stray blanks; of spellings that mean one state (NSW, N.S.W., New South Wales) the most frequent stands."""
    texts = _plain_values(column, where)
    counts = pd.Series(texts).value_counts()
    spelling: dict[str, str] = {}
    for text in sorted(counts.index, key=lambda text: (-counts[text], text)):
        spelling.setdefault(_state_key(text), text)
    return [spelling[_state_key(text)] for text in texts]


def _state_key(text: str) -> str:
    letters = "".join(character for character in text.casefold() if character.isalnum())
    return _STATE_NAMES.get(letters, letters)


def _tidy_dates(column: pd.Series, where: str) -> list[str]:
    texts = _plain_values(column, where)
    different = list(dict.fromkeys(texts))
    _refuse_mixed_zones(different, where)
    day_first = _day_comes_first(different, where)
    found = {text: _date_of(text, day_first) for text in different}
    if bad := [text for text, day in found.items() if day is None]:
        counted = ", the number of a day in a spreadsheet" if re.fullmatch(r"\d{5}(\.0)?", bad[0]) else ""
        raise ValueError(
            f"{where}: {DATE_COLUMN} has {_some(bad)}, which is not a date that can be read{counted}: "
            "write it as 2015/9/4"
        )
    return [f"{day.year}/{day.month}/{day.day}" for text in texts if (day := found[text])]


def _seen(value: object) -> str:
    text = unicodedata.normalize("NFKC", str(value)).translate(_DASHES)
    seen = (letter for letter in text if letter.isspace() or unicodedata.category(letter) not in _UNSEEN)
    return " ".join("".join(seen).split())


# %%
def _plain_values(column: pd.Series, where: str) -> list[str]:
    """Return the values without invisible text: stray blanks, zero-width and control characters.

    Raises:
        ValueError: some are missing.
    """
    plain = {value: _seen(value) for value in column.unique()}
    texts = ["" if missing else plain[value] for value, missing in zip(column, column.isna(), strict=True)]
    missing = [text.casefold() in _MISSING_WORDS for text in texts]
    if any(missing):
        raise ValueError(
            f"{where}: {column.name} is missing in {sum(missing)} of {len(column)} rows, the first is row "
            f"{missing.index(True) + 1}: it shows which photographs belong to one visit; fill it in"
        )
    return texts


def _refuse_mixed_zones(texts: Sequence[str], where: str) -> None:
    """Refuse times of several zones: 14:00 in one is midnight, and so the next day, in another.

    Raises:
        ValueError: dates have different zones, or only some have one.
    """
    zones: dict[str, str] = {}
    for text in texts:
        found = _YEAR_FIRST.fullmatch(text) or _YEAR_LAST.fullmatch(text)
        zones.setdefault((found["zone"] or "") if found else "", text)
    zoned = [text for zone, text in zones.items() if zone and not _MIDNIGHT.search(text)]
    if zoned and len(zones) > 1:
        other = next(text for text in zones.values() if text != zoned[0])
        raise ValueError(
            f"{where}: {DATE_COLUMN} has {quoted(zoned[0])} and {quoted(other)}, of different time zones: which day is "
            "meant cannot be told; write it as 2015/9/4"
        )


def _day_comes_first(texts: Sequence[str], where: str) -> bool:
    """Return whether 4/9/2015 is the 4th of September here, by the dates that can be read in one way only.

    Raises:
        ValueError: they say both, or nothing.
    """
    written = [(text, int(match[1]), int(match[3])) for text in texts if (match := _YEAR_LAST.fullmatch(text))]
    days_first = [text for text, first, second in written if first > len(_MONTHS) >= second]
    months_first = [text for text, first, second in written if second > len(_MONTHS) >= first]
    unclear = [text for text, first, second in written if first != second and max(first, second) <= len(_MONTHS)]
    if days_first and months_first:
        raise ValueError(
            f"{where}: {DATE_COLUMN} has {days_first[0]} and {months_first[0]}, once the day first and once the month: "
            "write all dates as 2015/9/4"
        )
    if unclear and not days_first and not months_first:
        raise ValueError(
            f"{where}: {DATE_COLUMN} has {_some(unclear)}, and nothing says whether the day or the month comes first: "
            "write it as 2015/9/4"
        )
    return not months_first


def _date_of(text: str, day_first: bool) -> date | None:
    """Read one date; None for what is not a date."""
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day = match[1] or match[6], match[3] or match[7], match[4] or match[8]
    elif match := _YEAR_LAST.fullmatch(text):
        day, month, year = (match[1], match[3], match[4]) if day_first else (match[3], match[1], match[4])
    elif (
        (match := _MONTH_NAMED.fullmatch(text))
        and match[2].lower() in (*_MONTHS, *_MONTH_NAMES)
        and bool(match[1]) != bool(match[3])
    ):
        day, month, year = match[1] or match[3], str(_MONTHS.index(match[2][:3].lower()) + 1), match[4]
    else:
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError:  # the 31st of April
        return None


def _some(values: Sequence[str]) -> str:
    more = len(values) - SHOWN_VALUES
    return ", ".join(map(quoted, values[:SHOWN_VALUES])) + (f" and {more} more" if more > 0 else "")
