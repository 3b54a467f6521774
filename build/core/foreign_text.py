r"""Text from elsewhere, made fit to be shown and kept: no credential of this machine in it, and no control character.

A server, a log and a notebook echo what they were sent, in many spellings. So a text is looked through as a reader
would who knows them: escapes decoded (`%41`, `\x41`, `\u0041`, `&#65;`), line breaks, quotes and colours passed over,
capitals and small letters alike. Found are the secrets themselves, a piece of 15 characters of one, hex, and base64 at
any position, so also of `user:key`, whoever the user is.
"""

import base64
import json
import re
import string
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from html import unescape
from typing import Any

from build.core.credentials import secrets, users
from build.core.untrusted import plain_text

HIDDEN = "***"
SHORT = 8  # characters; a shorter secret is hidden as a word only: it may be part of ordinary words
_WINDOW, _STRIDE = 12, 4  # so every piece of 15 characters of a secret holds a window
_LONG = 16  # characters of a secret whose pieces are hidden, too
_WORD = frozenset(string.ascii_letters + string.digits)
_ENCODED = frozenset(string.ascii_letters + string.digits + "+/=_-%")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
# What stands between two letters without belonging to them, or for a letter.
_BETWEEN = re.compile(
    r"(?P<between>\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\\[rnt]"
    r"|[\r\n]+[ \t]*(?:[#>|│*]+[ \t]*)?"
    r"|[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\"'│]+)"
    r"|(?P<letter>%(?:25)*[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\u00[0-9A-Fa-f]{2}|&(?:#\d{2,3}|#[xX][0-9A-Fa-f]{2}|\w{2,8});)"
    r"|\\"
)
_LOGIN = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"<>]*@")
_QUERY = re.compile(r"(https?://[^\s?'\"]+|/[\w%./-]+)\?[^\s'\")]+")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+(?=[\w.~+/=-]*[0-9=]|[\w.~+/=-]{16})[\w.~+/=-]{6,}")
_HEADER = re.compile(
    r"(?i)((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:api-?key|token))(['\"]?\s*[:=]\s*b?['\"]?)"
    r"(?!\*\*\*)(?:(?:basic|bearer|token|digest|negotiate)\s+)?[^\s,'\")}\]]+"
)
# What to look for among a text's letters, beside each the characters that belong to it where they touch it; and the
# short secrets, which are looked for as words.
Needles = tuple[dict[str, frozenset[str]], list[re.Pattern[str]]]
_OWN_COLOURS = re.compile(r"(\x1b\[(?:0|1|3[0-7])m)")


def shown(text: object, *, colours: bool = False) -> str:
    """Return foreign text as it may be printed, logged, stored and put into a message.

    `colours` keeps the plain colours that this kit has put in.
    """
    clean = redact(str(text))
    if not colours:
        return plain_text(clean)
    parts = _OWN_COLOURS.split(clean)
    return "".join(part if number % 2 else plain_text(part) for number, part in enumerate(parts))


def shown_source(text: str) -> str:
    """Return foreign source text as it may be shown: without credentials, its addresses whole."""
    return plain_text(hide_secrets(text))


def shown_value(value: Any) -> Any:
    """Return a JSON value with every text in it as it may be shown."""
    return _each_text(value, shown)


def redact(text: str) -> str:
    """Take out credentials, logins in URLs, and every query of a URL (upload and download URLs are signed)."""
    text = _LOGIN.sub(rf"\g<scheme>{HIDDEN}@", hide_secrets(text))
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _QUERY.sub(r"\1?…", text)


def hide_secrets(text: str) -> str:
    """Put *** where a credential of this machine stands, in any of its spellings."""
    return hide_in_pieces([text])[0]


def hide_in_pieces(pieces: Sequence[str], needles: Needles | None = None) -> list[str]:
    """Hide the credentials of a text that comes in pieces, those that lie across a cut as well."""
    found = _spans("".join(pieces), needles or _needles_here())
    if not found:
        return list(pieces)
    hidden, offset = [], 0
    for piece in pieces:
        kept, at = [], 0
        for start, end in found:
            if end > offset + at and start < offset + len(piece):
                kept.append(piece[at : max(at, start - offset)])
                kept.append(HIDDEN if start >= offset else "")
                at = min(len(piece), end - offset)
        hidden.append("".join([*kept, piece[at:]]))
        offset += len(piece)
    return hidden


def hide_in_value(value: Any) -> Any:
    """Hide the credentials in every text of a JSON value; a list of texts is one text in pieces, as in a notebook."""
    return _hidden(value, _needles_here())  # looked up once: a notebook has thousands of texts


def _hidden(value: Any, needles: Needles) -> Any:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return hide_in_pieces(value, needles)
    return _each_text(value, lambda text: hide_in_pieces([text], needles)[0], lambda inner: _hidden(inner, needles))


def secret_spans(text: str, *, words: bool = True, among: Collection[str] | None = None) -> list[tuple[int, int]]:
    """Return where credentials (of this machine, or `among` others) stand in a text: spans that do not touch, in order.

    `words` finds those shorter than `SHORT` as well, which may be ordinary words.
    """
    needles, short = _needles_here(among)
    return _spans(text, (needles, short if words else []))


def _needles_here(among: Collection[str] | None = None) -> Needles:
    return _needles(frozenset(secrets() if among is None else among), frozenset(users()))


def _spans(text: str, needles_and_words: Needles) -> list[tuple[int, int]]:
    needles, short = needles_and_words
    found = [match.span() for word in short for match in word.finditer(text)]
    if needles:
        view = _view(text)
        present = [needle for needle in needles if needle in view]
        if present:
            letters, starts, ends = _positions(text)
            for needle in present:
                at = letters.find(needle)
                while at >= 0:
                    found.append(_widened(text, starts[at], ends[at + len(needle) - 1], needles[needle]))
                    at = letters.find(needle, at + 1)
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def encoded_forms(secret: str) -> set[bytes]:
    """Return the bytes under which a secret may lie in a file: as it is, in UTF-16, in hex, in base64."""
    plain = secret.encode()
    hexes = plain.hex()
    forms = {plain, secret.encode("utf-16-le"), secret.encode("utf-16-be"), hexes.encode(), hexes.upper().encode()}
    forms |= {json.dumps(secret)[1:-1].encode()}
    return forms | {core.encode() for core in _base64_cores(plain)}


@lru_cache(maxsize=8)
def _needles(found: frozenset[str], names: frozenset[str]) -> Needles:
    """Return what to look for where these are the secrets and the accounts."""
    needles: dict[str, frozenset[str]] = {}
    for secret in found:
        plain = secret.encode()
        forms = {secret, plain.decode("latin-1")} if len(secret) >= SHORT else set()
        encoded = {plain.hex(), *_base64_cores(plain)}
        for name in names:
            login = f"{name}:{secret}"
            forms.add(login)
            standard = base64.b64encode(login.encode()).decode().rstrip("=")
            encoded |= {login.encode().hex(), standard, standard.translate(_URLSAFE)}
        if len(secret) >= _LONG:
            last = len(secret) - _WINDOW
            forms |= {secret[at : at + _WINDOW] for at in {*range(0, last, _STRIDE), last}}
        needles |= {_view(form): _WORD for form in forms} | {_view(form): _ENCODED for form in encoded}
    words = [re.compile(rf"(?<![A-Za-z0-9]){re.escape(one)}(?![A-Za-z0-9])") for one in found if len(one) < SHORT]
    return {needle: joined for needle, joined in needles.items() if len(needle) >= SHORT}, words


_URLSAFE = str.maketrans("+/", "-_")


def _base64_cores(plain: bytes) -> set[str]:
    """Return the part of the base64 of anything that holds these bytes which depends on nothing else, long enough."""
    cores = set()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + plain).decode().rstrip("=")
        first = (0, 2, 3)[before]  # characters that hold bits of what comes before
        core = whole[first : (before + len(plain)) * 8 // 6]  # without one that holds bits of what comes after
        if len(core) >= SHORT:
            cores |= {core, core.translate(_URLSAFE)}
    return cores


def _letter_of(match: re.Match[str]) -> str:
    token = match["letter"]
    if token is None:
        return ""
    if token[0] == "&":
        letter = unescape(token)
    else:
        letter = chr(int(token[-2:], 16))
    return "" if letter.isspace() or letter in "\"'\\\0" else letter


def _view(text: str) -> str:
    """Return the letters of a text, small, without what may stand between them."""
    return _BETWEEN.sub(_letter_of, text).translate(_LOWER)


def _positions(text: str) -> tuple[str, list[int], list[int]]:
    """Return the same, and where each letter begins and ends in the text."""
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _BETWEEN.finditer(text):
        letters.append(text[at : match.start()])
        starts.extend(range(at, match.start()))
        ends.extend(range(at + 1, match.start() + 1))
        for letter in _letter_of(match):
            letters.append(letter)
            starts.append(match.start())
            ends.append(match.end())
        at = match.end()
    letters.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return "".join(letters).translate(_LOWER), starts, ends


def _widened(text: str, start: int, end: int, joined: frozenset[str]) -> tuple[int, int]:
    """Take in the rest of the word: what is encoded holds bits of the secret on both sides."""
    while start > 0 and text[start - 1] in joined:
        start -= 1
    while end < len(text) and text[end] in joined:
        end += 1
    return start, end


def _each_text(value: Any, of_text: Any, of_rest: Any = None) -> Any:
    of_rest = of_rest or (lambda inner: _each_text(inner, of_text))
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, Mapping):
        return {of_text(key) if isinstance(key, str) else key: of_rest(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [of_rest(inner) for inner in value]
    return value
