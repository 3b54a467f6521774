"""What a target of the Makefile runs: `python -m build.make TARGET MODULE WORD …`, with variables as they were typed.

The Makefile hands every variable over in the environment, so neither make nor a shell reads its value (only blanks
before its first character are lost: make drops them). A WORD with a NAME in capitals becomes arguments of MODULE:

    --data=DATA              the option with DATA's value, or nothing where DATA is empty
    --data=DATA:out/demo     the same, with a default, which is said
    --experiment=EXPERIMENT! the same, and EXPERIMENT must be given
    --weights=WEIGHTS...     once for each word of WEIGHTS, quoted as for a shell: 'a b' c
    --no-wait=WAIT=0         a switch, where WAIT is 0; 0 and 1 are the values there are
    EXPERIMENT:demo          an argument without a name, after `--`

Every other word goes on as it is. Standard library only, and quick, since every command starts here.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence

_WORD = re.compile(
    r"(?:(?P<option>--[a-z-]+)=)?(?P<name>[A-Z]+)(?P<many>\.\.\.)?(?:(?P<must>!)|=(?P<switch>[01])|:(?P<default>.*))?"
)
_FOR_MAKE = {"PYTHON", "SHELL", "MAKE", "MAKEFLAGS"}  # of make itself, or of its first step


class Unusable(Exception):
    """The values that were typed make no command."""


def arguments(words: Sequence[str], typed: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the arguments that the words stand for, and the defaults that were taken, as NAME=value.

    Raises:
        Unusable: a value is missing, no switch's value, or its quotes do not end.
    """
    given: list[str] = []
    unnamed: list[str] = []
    defaults: list[str] = []
    for word in words:
        found = _WORD.fullmatch(word)
        if found is None:
            given.append(word)
            continue
        name, value = found["name"], typed.get(found["name"], "")
        if found["switch"]:
            if value not in ("", "0", "1"):
                raise Unusable(f"{name}={value}: give 0 or 1")
            given += [found["option"]] if value == found["switch"] else []
            continue
        if not value and found["must"]:
            raise Unusable(f"{name}=… is missing")
        if not value and found["default"]:
            value = found["default"]
            defaults.append(f"{name}={value}")
        values = split(name, value) if found["many"] else [value] if value else []
        if found["option"]:
            given += [f"{found['option']}={one}" for one in values]
        else:
            unnamed += values
    return given + (["--", *unnamed] if unnamed else []), defaults


def split(name: str, value: str) -> list[str]:
    """Split a list of paths (or HANDLE=PATH) into its words; a path that is there may hold spaces without quotes.

    Raises:
        Unusable: a quote does not end, or the value is the path of one thing and a list of others, too.
    """
    try:
        words = shlex.split(value)
    except ValueError as error:
        if _exists(value):
            return [value]
        raise Unusable(
            f"{name}={value}: {error}; write {name}={shlex.quote(shlex.quote(value))} for one path"
        ) from None
    if words == [value] or not _exists(value):
        return words
    if all(map(_exists, words)):
        raise Unusable(f"{name}={value} is one path and {len(words)} others: put quotes into the value round each path")
    return [value]


def _exists(path: str) -> bool:
    return "\0" not in path and any(os.path.exists(part) for part in (path, path.partition("=")[2]) if part)


def read_by(words: Sequence[str]) -> list[str]:
    """Return the names of the variables that a target's words read."""
    return [found["name"] for word in words if (found := _WORD.fullmatch(word))]


def refuse_unread(target: str, words: Sequence[str], typed: str, goals: str) -> None:
    """Refuse a variable on make's command line that its only target does not read: it was misspelt, or meant another.

    Raises:
        Unusable: there is one.
    """
    read = read_by(words)
    unread = [name for name in typed.split() if name not in (*read, *_FOR_MAKE) and not name.startswith(".")]
    if unread and goals.split() == [target]:
        known = f"it reads {', '.join(read)}" if read else "it reads none"
        raise Unusable(f"{', '.join(unread)}: no variable of this target, {known}")


def main(target: str, module: str, *words: str) -> None:
    """Become `python -m module` with the arguments that the words stand for; exit 2 where they stand for none."""
    try:
        refuse_unread(target, words, os.environ.get("TYPED", ""), os.environ.get("MAKECMDGOALS", ""))
        given, defaults = arguments(words, os.environ)
    except Unusable as unusable:
        print(f"make {target}: {unusable}", file=sys.stderr)
        raise SystemExit(2) from None
    if defaults:
        print(f"make {target}: {', '.join(defaults)} (not given)", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-m", module, *given])


if __name__ == "__main__":
    main(*sys.argv[1:])
