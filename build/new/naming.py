"""The names that a competition has here, made of its slug on Kaggle."""

import keyword
import re

from build.core.errors import UsageError

LONGEST = 20  # of a package's name: the slugs of notebooks are made of it, twice
LONGEST_PREFIX = 12
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def checked_slug(slug: str) -> str:
    """Return a competition's slug.

    Raises:
        UsageError: it cannot be one.
    """
    if not _SLUG.fullmatch(slug):
        hint = f"; of {slug} it is the last part" if "/" in slug else ""
        raise UsageError(
            f"COMPETITION={slug} is no slug of Kaggle's: lower-case letters, digits and hyphens, as at the end of the "
            f"competition's address{hint}"
        )
    return slug


def package_name(slug: str, given: str = "") -> str:
    """Return the package's name: the one that is given, or as many words of the slug as fit.

    Raises:
        UsageError: the one that is given cannot be a package's.
    """
    if given:
        if not _NAME.fullmatch(given) or keyword.iskeyword(given) or len(given) > LONGEST:
            raise UsageError(
                f"--name {given}: lower-case letters and digits with single _ between them, a letter first, "
                f"{LONGEST} characters at most, and no word of Python's"
            )
        return given
    words = slug.split("-")
    while len(words) > 1 and len("_".join(words)) > LONGEST:
        words.pop()
    name = "_".join(words)[:LONGEST].rstrip("_")
    if not name[0].isalpha() or keyword.iskeyword(name):
        name = f"the_{name}"[:LONGEST].rstrip("_")
    return name


def prefix_of(name: str) -> str:
    """Return what opens the slugs of notebooks and bundles."""
    words = name.split("_")
    while len(words) > 1 and len("-".join(words)) > LONGEST_PREFIX:
        words.pop()
    return "-".join(words)[:LONGEST_PREFIX].strip("-")


def class_stem(name: str) -> str:
    """Return what the package's classes begin with."""
    return "".join(word.capitalize() for word in name.split("_"))


def title_of(slug: str) -> str:
    """Return the competition's title, as far as its slug tells."""
    return " ".join(word.capitalize() for word in slug.split("-"))
