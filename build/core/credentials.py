"""Where Kaggle's client finds credentials, in its order; whether others can read them; never what they are.

Order of client 2.2.4: `KAGGLE_API_TOKEN` (a token, or the name of a file with one), `~/.kaggle/access_token`(.txt),
`KAGGLE_USERNAME` + `KAGGLE_KEY` or kaggle.json, then OAuth (`kaggle auth login`). The first one found is used even if
it is stale and a later one is good. The client passes over a file that it cannot read without a word; here it is a
problem with a cure, and never called absent.
"""

import json
import os
import re
import shlex
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from build.core.errors import Problem
from build.core.untrusted import object_in

TOKEN_PAGE = "https://www.kaggle.com/settings/api"
SHORTEST_SECRET = 4  # shorter ones are ordinary letters; Kaggle's have 32 and more
MAX_BYTES = 1 << 16  # of a file of credentials
# Names under which credentials are kept; such a file is never uploaded.
CREDENTIAL_FILES = frozenset(
    "kaggle.json access_token access_token.txt credentials.json netrc _netrc id_rsa id_dsa id_ecdsa id_ed25519".split()
)
CREDENTIAL_SUFFIXES = (".pem", ".p12", ".pfx", ".kdbx", ".ppk", ".keystore", ".jks")
_VARIABLES = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_TOKEN")
_FIELDS = ("key", "token", "refresh_token", "access_token")
_FIELD = re.compile(rf'"(?:{"|".join(_FIELDS)})"\s*:\s*"?((?:[^"\\\s,}}]|\\.)+)')  # also in a file that is cut short
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WORD = 15  # characters of a word in a file of a token that may be one
_PATH = re.compile(r"[/~.]|[A-Za-z]:[\\/]")
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
_CHARACTERS = {
    "\r": "a carriage return",
    "\n": "a line break",
    "\t": "a tab",
    " ": "a space",
    '"': "a quotation mark",
    "'": "a quotation mark",
    "\ufeff": "a byte-order mark (BOM)",
}


class Unreadable(Exception):
    """Credentials are there and cannot be used as they are; says why, never what they are."""


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
    if os.name == "posix" and os.uname().sysname == "Linux" and not _is_there(home):
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return home


def find_sources() -> list[Source]:
    """List every place that holds credentials, the one that is used first."""
    return [one for one in _places() if isinstance(one, Source)]


def unreadable_problems() -> list[Problem]:
    """List the credentials that are there and cannot be read, or are invalid."""
    return [one for one in _places() if isinstance(one, Problem)]


def blocking_problems() -> list[Problem]:
    """List those of them that would have been used, since nothing usable comes before them."""
    problems = []
    for one in _places():
        if isinstance(one, Source):
            break
        problems.append(one)
    return problems


def mode_problems() -> list[Problem]:
    """List the credential files that other users of this machine can read."""
    if os.name == "nt":  # no such modes there
        return []
    problems = []
    for path in credential_files():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            what = f"other users of this machine can access this credentials file (mode {mode:03o})"
            problems.append(Problem(what=what, where=str(path), cure=f"chmod 600 {shlex.quote(str(path))}"))
    return problems


def is_account(name: object) -> bool:
    """Say whether this can be the name of an account on Kaggle."""
    return isinstance(name, str) and _ACCOUNT.fullmatch(name) is not None


def secrets() -> set[str]:
    """Return every secret value on this machine that must not reach a message; for taking them out, never to print.

    Those of files that are damaged, too, and the passwords of proxies.
    """
    values = {os.environ.get(name, "").strip() for name in _VARIABLES}
    for path in credential_files():
        text = _any_text(path)
        if path.suffix == ".json":
            found = object_in(text)
            values |= {str(found[name]).strip() for name in _FIELDS if name in found}
            values |= set(_FIELD.findall(text))
        else:
            values |= {text.strip(), *(word for word in text.split() if len(word) > _WORD)}
    values |= {password for _, password in proxy_logins()}
    return {value for value in values if len(value) >= SHORTEST_SECRET and not _file_named(value)}


def users() -> set[str]:
    """Return the names that stand before a secret in `user:secret`: of the account, and of proxies."""
    names = {os.environ.get("KAGGLE_USERNAME", "").strip()}
    for path in credential_files():
        if path.suffix == ".json" and isinstance(name := object_in(_any_text(path)).get("username"), str):
            names.add(name.strip())
    return {name for name in names | {user for user, _ in proxy_logins()} if name}


def proxy_logins() -> list[tuple[str, str]]:
    """Return user and password of every proxy in the environment, as written and unquoted."""
    found = []
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy") and "@" in value:
            user, _, password = value.rpartition("@")[0].rpartition("://")[2].partition(":")
            found += [(user, password), (unquote(user), unquote(password))]
    return [(user, password) for user, password in dict.fromkeys(found) if password]


def credential_files() -> list[Path]:
    """Return the credential files that are there."""
    home = Path.home() / ".kaggle"
    named = _file_named(os.environ.get("KAGGLE_API_TOKEN", ""))
    candidates = [named] if named else []
    candidates += [home / "access_token", home / "access_token.txt", config_folder() / "kaggle.json"]
    candidates += [home / "kaggle.json", home / "credentials.json"]
    return [path for path in dict.fromkeys(candidates) if _is_file(path)]


def _places() -> Iterator[Source | Problem]:
    """Yield each place with credentials in the client's order, or what is wrong with it."""
    yield from _token_of_the_environment()
    for name in ("access_token", "access_token.txt"):
        path = Path.home() / ".kaggle" / name
        if _is_there(path):
            yield _token_of_a_file(path, str(path))
    yield from _key()
    login = Path.home() / ".kaggle" / "credentials.json"
    if _is_there(login):
        try:
            _check_value("refresh_token", read_object_of(login).get("refresh_token"))
            yield Source("login", str(login), login)
        except Unreadable as error:
            yield _problem(error, str(login), f"sign in again with `kaggle auth login`, or remove {login}")
    halves = {name: bool(os.environ.get(name)) for name in ("KAGGLE_USERNAME", "KAGGLE_KEY")}
    if sum(halves.values()) == 1 and not _is_there(config_folder() / "kaggle.json"):
        there, missing = sorted(halves, key=lambda name: not halves[name])
        yield _problem(Unreadable(f"{there} is set and {missing} is not"), there, "set both, or unset it")


def _token_of_the_environment() -> Iterator[Source | Problem]:
    name = "KAGGLE_API_TOKEN"
    if not (value := os.environ.get(name)):
        return
    path = Path(value) if _may_exist(value) else None
    if path is not None:
        found = _token_of_a_file(path, f"{name} ({path})")
        yield Source("token", found.where) if isinstance(found, Source) else found
        return
    try:
        if _PATH.match(value):
            raise Unreadable("looks like the path of a file, and no such file is there")
        _check_value("the token", value)
        yield Source("token", name)
    except Unreadable as error:
        yield _problem(error, name, f"set it again, or unset {name}")


def _token_of_a_file(path: Path, where: str) -> Source | Problem:
    try:
        _check_value("the token", read_text_of(path).strip())
        return Source("token", where, path)
    except Unreadable as error:
        return _problem(error, where, f"save the token there again, or remove {path}")


def _key() -> Iterator[Source | Problem]:
    """Yield the user and the key, each from the environment or from kaggle.json."""
    path = config_folder() / "kaggle.json"
    values = {"username": os.environ.get("KAGGLE_USERNAME"), "key": os.environ.get("KAGGLE_KEY")}
    names = {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}
    from_file = [name for name, value in values.items() if not value]
    try:
        stored = read_object_of(path) if from_file and _is_there(path) else {}
    except Unreadable as error:
        yield _problem(error, str(path), f"download kaggle.json again, or remove {path}")
        return
    if from_file and _is_there(path) and not stored:
        yield _problem(Unreadable("holds neither username nor key"), str(path), f"download it again, or remove {path}")
        return
    if from_file and not stored.keys() & {"username", "key"}:
        return  # nothing, or the settings of `kaggle config set` alone
    try:
        for name, where in names.items():
            if name not in from_file:
                _check_value(where, values[name], is_user=name == "username")
            else:
                _check_value(f"its {name}", stored.get(name), is_user=name == "username")
    except Unreadable as error:
        variables = " and ".join(where for name, where in names.items() if name not in from_file)
        at = str(path) if stored and str(error).startswith("its ") else variables
        yield _problem(error, at, "download kaggle.json again" if at == str(path) else "set both again, or unset both")
        return
    where = " and ".join(names[name] for name in names if name not in from_file)
    if from_file:
        where = " and ".join(filter(None, (where, str(path))))
    yield Source("key", where, path if from_file else None)


def _problem(error: Unreadable, where: str, cure: str) -> Problem:
    return Problem(what=f"there are credentials, but they cannot be used: {error}", where=where, cure=f"{cure}; {_NEW}")


_NEW = f"a new token: {TOKEN_PAGE}"


def _check_value(name: str, value: object, *, is_user: bool = False) -> None:
    """Refuse what no client can send.

    Raises:
        Unreadable: not a text, empty, or with a character that no credential has; which one is said.
    """
    if value is None:
        raise Unreadable(f"{name} is missing")
    if not isinstance(value, str):
        raise Unreadable(f"{name} is {_kind_of(value)}, not a text in quotes")
    if not value:
        raise Unreadable(f"{name} is empty")
    for number, character in enumerate(value, 1):
        if character in _CHARACTERS or not "!" <= character <= "~":
            said = _CHARACTERS.get(character) or unicodedata.name(character, f"the character U+{ord(character):04X}")
            raise Unreadable(f"{name} holds {said} (at character {number} of {len(value)})")
    if is_user and not is_account(value):
        raise Unreadable(f"{name} is not the name of an account (letters, digits, - . _)")


def _kind_of(value: object) -> str:
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), "something else")


def read_text_of(path: Path) -> str:
    """Read a file of credentials.

    Raises:
        Unreadable: not a file, not to be opened, too large, empty, or not plain UTF-8.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable("is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise Unreadable(f"has {status.st_size:,} bytes, too many for a credentials file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("is a link to a file that is not there") from None
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            kind = "is UTF-16 text" if encoding == "utf-16" else "begins with a byte-order mark (BOM)"
            raise Unreadable(f"{kind}; it must be UTF-8 without BOM")
    if not data.strip():
        raise Unreadable("is empty")
    if b"\0" in data:
        raise Unreadable("holds zero bytes, as UTF-16 text does; it must be UTF-8 without BOM")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (at byte {error.start + 1} of {len(data)})") from None


def read_object_of(path: Path) -> dict[str, object]:
    """Read a JSON file of credentials.

    Raises:
        Unreadable: as of `read_text_of`, or not a whole JSON object.
    """
    try:
        value = json.loads(read_text_of(path))
    except json.JSONDecodeError as error:
        raise Unreadable(f"is cut short or not JSON (at line {error.lineno}, column {error.colno})") from None
    except (RecursionError, ValueError):
        raise Unreadable("is not JSON of credentials") from None
    if not isinstance(value, dict):
        raise Unreadable(f"is JSON, but {_kind_of(value)} instead of an object")
    return value


def _is_there(path: Path) -> bool:
    """Say whether anything has this name; what cannot be looked at counts as there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a token, not a path: longer than a file name may be
        return False


def _may_exist(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # a token longer than a file name may be
        return False


def _file_named(value: str) -> Path | None:
    """Return the file that KAGGLE_API_TOKEN names, None where it is the token itself."""
    return Path(value) if value and _is_file(Path(value)) else None


def _any_text(path: Path) -> str:
    """Return what a file of credentials holds, however damaged, so that nothing of it is printed."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES)
    except OSError:
        return ""
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8")
    text = data.decode(encoding, errors="replace")
    return text.replace("\0", "")
