"""Where Kaggle's client finds credentials, in its order; whether others can read them; never what they are.

Order of client 2.2.4: `KAGGLE_API_TOKEN` (a token, or the name of a file with one), `~/.kaggle/access_token`(.txt),
`KAGGLE_USERNAME` + `KAGGLE_KEY` or kaggle.json, then OAuth (`kaggle auth login`). The first one found is used even if
it is stale and a later one is good.
"""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from build.problems import Problem

SHORTEST_SECRET = 6  # shorter ones would blot out ordinary words when they are taken out of messages


@dataclass(frozen=True)
class Source:
    """One place with credentials; the values stay there."""

    kind: Literal["token", "key", "login"]
    where: str  # for messages: a variable's name or a path
    path: Path | None = None

    @property
    def removal(self) -> str:
        """How to take it out of the way."""
        return f"remove {self.path}" if self.path else f"unset {self.where}"


def config_folder() -> Path:
    """Return the folder of kaggle.json, chosen as the client does."""
    if named := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(named)
    home = Path.home() / ".kaggle"
    if os.name == "posix" and os.uname().sysname == "Linux" and not home.exists():
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return home


def find_sources() -> list[Source]:
    """List every place that holds credentials, the one that is used first."""
    found = []
    if named := os.environ.get("KAGGLE_API_TOKEN"):
        path = _file_named(named)
        found.append(Source("token", f"KAGGLE_API_TOKEN ({path})" if path else "KAGGLE_API_TOKEN", None))
    for name in ("access_token", "access_token.txt"):
        path = Path.home() / ".kaggle" / name
        if _read(path).strip():
            found.append(Source("token", str(path), path))
    stored = _read_json(config_folder() / "kaggle.json")
    user = "KAGGLE_USERNAME" if os.environ.get("KAGGLE_USERNAME") else "username" in stored
    key = "KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else "key" in stored
    if user and key:
        in_file = config_folder() / "kaggle.json"
        names = [name for name in (user, key) if isinstance(name, str)]
        if len(names) == 2:
            found.append(Source("key", "KAGGLE_USERNAME and KAGGLE_KEY"))
        else:
            found.append(Source("key", " and ".join([*names, str(in_file)]), in_file))
    login = Path.home() / ".kaggle" / "credentials.json"
    if _read_json(login).get("refresh_token"):
        found.append(Source("login", str(login), login))
    return found


def mode_problems() -> list[Problem]:
    """List the credential files that other users of this machine can read."""
    if os.name == "nt":  # no such modes there
        return []
    problems = []
    for path in _files():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            what = f"other users of this machine can get at this file of credentials (mode {mode:03o})"
            problems.append(Problem(what=what, where=str(path), cure=f"chmod 600 {path}"))
    return problems


def secrets() -> set[str]:
    """Return every secret value on this machine that must not reach a message; for taking them out, never to print."""
    values = {os.environ.get(name, "") for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_TOKEN")}
    for path in _files():
        if path.suffix == ".json":
            stored = _read_json(path)
            values |= {
                str(stored[name]) for name in ("key", "token", "refresh_token", "access_token") if name in stored
            }
        else:
            values.add(_read(path).strip())
    return {value for value in values if len(value) >= SHORTEST_SECRET and not _file_named(value)}


def _files() -> list[Path]:
    """Return the credential files that are there."""
    home = Path.home() / ".kaggle"
    named = _file_named(os.environ.get("KAGGLE_API_TOKEN", ""))
    candidates = [named] if named else []
    candidates += [home / "access_token", home / "access_token.txt", config_folder() / "kaggle.json"]
    candidates += [home / "kaggle.json", home / "credentials.json"]
    return [path for path in dict.fromkeys(candidates) if path.is_file()]


def _file_named(value: str) -> Path | None:
    """Return the file that KAGGLE_API_TOKEN names, None where it is the token itself."""
    try:
        path = Path(value) if value else None
        return path if path and path.is_file() else None
    except OSError:  # a token longer than a file name may be
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _read_json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(_read(path))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
