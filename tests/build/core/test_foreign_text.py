"""What a server, a log or a notebook says is shown without the credentials of this machine, however they are spelt."""

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.core.errors import Problem
from build.core.foreign_text import hide_in_pieces, hide_in_value, hide_secrets, redact, shown, shown_value

KEY = "9f3c71d2e8a04b56c1d7e9f0a2b4c6d8"
PASSWORD = "pa/ss+wo&rd=42!x"


@pytest.fixture(autouse=True, scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("KAGGLE_CONFIG_DIR", raising=False)
        patch.delenv("KAGGLE_API_TOKEN", raising=False)
        patch.setenv("KAGGLE_USERNAME", "kim")
        patch.setenv("KAGGLE_KEY", KEY)
        patch.setenv("https_proxy", f"http://ann:{quote(PASSWORD, safe='')}@proxy.example:3128")
        yield


def in_base64(text: str, urlsafe: bool = False, padded: bool = True) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    text = encode(text.encode()).decode()
    return text if padded else text.rstrip("=")


SPELLINGS = {
    "as it is": lambda s: s,
    "in capitals": str.upper,
    "as Basic sends it": lambda s: in_base64(f"kim:{s}"),
    "of another user": lambda s: in_base64(f"somebody else:{s}"),
    "without padding": lambda s: in_base64(f"k:{s}", padded=False),
    "for URLs": lambda s: in_base64(f"ann:{s}", urlsafe=True, padded=False),
    "inside base64 of JSON": lambda s: in_base64(json.dumps({"username": "kim", "key": s})),
    "alone in base64": in_base64,
    "in base64, broken like a mail": lambda s: "\n".join(re.findall(".{1,20}", in_base64(f"kim:{s}"))),
    "in base64, quoted for a URL": lambda s: quote(in_base64(f"kim:{s}"), safe=""),
    "quoted for a URL": lambda s: quote(s, safe=""),
    "every letter quoted": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "quoted twice": lambda s: "".join(f"%25{ord(c):02x}" for c in s),
    "in a JSON string": lambda s: json.dumps(s),
    "every letter a JSON escape": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "every letter a Python escape": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "for HTML": html.escape,
    "every letter an entity": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "in hex": lambda s: s.encode().hex(),
    "in hex capitals": lambda s: f"kim:{s}".encode().hex().upper(),
    "over lines": lambda s: "\n  ".join(re.findall(".{1,5}", s)),
    "over commented lines": lambda s: "\n# ".join(re.findall(".{1,7}", s)),
    "over lines of a repr": lambda s: "\\n".join(re.findall(".{1,9}", s)),
    "with colours inside": lambda s: f"{s[:6]}\x1b[0;31m{s[6:]}\x1b[0m",
    "with invisible letters inside": lambda s: f"{s[:6]}\u200b{s[6:9]}\xad{s[9:]}",
    "in the repr of headers": lambda s: repr({"Authorization": f"Basic {in_base64(f'kim:{s}')}", "n": 1}),
    "as a proxy's address": lambda s: f"http://ann:{quote(s, safe='')}@proxy.example:3128",
}


def gives_away(text: str, secret: str) -> bool:
    """Look for eight letters in a row of a secret in a text, decoded in every way that this file encodes."""
    plain = re.sub(r"\x1b\[[0-9;]*m|\\n|[\s\u200b\xad\"'#]", "", html.unescape(text))
    readings = {plain, re.sub(r"%(?:25)*([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), plain)}
    readings |= {re.sub(r"\\(?:x|u00)([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), plain)}
    for reading in list(readings):
        for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", reading):
            for cut in range(4):
                data = run[cut:].translate(str.maketrans("-_", "+/"))
                decoded = base64.b64decode(data[: len(data) // 4 * 4])
                readings.add(decoded.decode("latin-1"))
        for run in re.findall(r"[0-9a-fA-F]{16,}", reading):
            readings |= {bytes.fromhex(run[cut:][: (len(run) - cut) // 2 * 2]).decode("latin-1") for cut in (0, 1)}
    pieces = {secret[at : at + 8].lower() for at in range(len(secret) - 7)}
    return any(piece in reading.lower() for piece in pieces for reading in readings)


@pytest.mark.parametrize("secret", [KEY, PASSWORD])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_secret_is_shown(spelling: str, secret: str) -> None:
    sent = f"denied for {SPELLINGS[spelling](secret)}, sorry"
    assert gives_away(sent, secret), "the search of this test should find it in what was sent"
    clean = shown(sent)
    assert not gives_away(clean, secret), clean
    assert "denied for" in clean and "sorry" in clean


@given(st.sampled_from(sorted(SPELLINGS)), st.text(max_size=20), st.text(max_size=20), st.data())
def test_whatever_stands_around_it_and_wherever_it_is_cut(spelling: str, before: str, after: str, data) -> None:
    text = f"{before} {SPELLINGS[spelling](KEY)} {after}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    hidden = hide_in_pieces(pieces)
    assert len(hidden) == len(pieces) and not gives_away("".join(hidden), KEY)
    assert not gives_away(shown(text), KEY)
    assert all(character.isprintable() or character in "\n\t\u3000" or character.isspace() for character in shown(text))


@given(st.text())
def test_a_text_without_secrets_loses_nothing_but_what_steers_a_terminal(text: str) -> None:
    assert hide_secrets(text) == text


def test_a_piece_of_a_key_is_hidden_and_ordinary_words_are_not() -> None:
    assert KEY[4:19] not in shown(f"the key that ends in {KEY[4:19]}")
    for text in ("Basic training of fold 0", "bearer of news", "9f3c71d", "https://www.kaggle.com/code/kim/x"):
        assert shown(text) == text


def test_a_short_secret_is_hidden_as_a_word_and_not_inside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "green")
    assert shown("key green, kim:green, Dry_Green_g, evergreen") == "key ***, ***, Dry_Green_g, evergreen"
    assert in_base64("kim:green") not in shown(f"got {in_base64('kim:green')}")
    monkeypatch.setenv("KAGGLE_KEY", "abc")
    assert shown("abc") == "abc"  # three letters are no key, and stand in many a word


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "ftp_proxy", "socks_proxy"])
@pytest.mark.parametrize("value", ["http://u:S3cretPass@h:1", "u:S3cretPass@h:1", "socks5h://u:S3cretPass@h"])
def test_the_password_of_every_proxy_is_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert "S3cretPass" not in shown("407 for u with S3cretPass") and "u" in shown("407 for u")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("see postgres://bob:hunter2@db/x", "see postgres://***@db/x"),
        ("clone https://ghp_token@github.com/a/b", "clone https://***@github.com/a/b"),
        ("https://www.kaggle.com/@kim", "https://www.kaggle.com/@kim"),
        ("Authorization: sesame", "Authorization: ***"),
        ("{'Authorization': b'Basic a2lt', 'Host': 'x'}", "{'Authorization': b'***', 'Host': 'x'}"),
        ('"Proxy-Authorization": "Basic YW5uOng="', '"Proxy-Authorization": "***"'),
        ("Cookie: session=abc; x", "Cookie: *** x"),
        ("at https://store/x?sig=abc ok", "at https://store/x?… ok"),
    ],
)
def test_strangers_credentials_in_their_usual_places_are_hidden(sent: str, kept: str) -> None:
    assert redact(sent) == kept


def test_control_characters_are_shown_as_text_and_our_own_colours_only_where_asked_for() -> None:
    assert shown("a\x1b]0;title\x07b\x1b[2Jc\rd\x9b1m") == "a\\x1b]0;title\\x07b\\x1b[2Jc\\rd\\x9b1m"
    assert shown("\x1b[31mred\x1b[0m\x1b[8mhid\x1b[2J", colours=True) == "\x1b[31mred\x1b[0mhid\\x1b[2J"


def test_values_are_cleaned_to_the_bottom_and_stay_values() -> None:
    value = {"a": [1, None, f"x {KEY}", {"b": (True, "\x1b[2J")}], f"k{KEY}": 2.5}
    assert shown_value(value) == {"a": [1, None, "x ***", {"b": [True, "\\x1b[2J"]}], "***": 2.5}
    lines = [f"key = '{KEY[:10]}'\n", f"    '{KEY[10:]}'\n"]  # as a notebook keeps its text
    assert not gives_away("".join(hide_in_value({"source": lines})["source"]), KEY)


def test_every_message_of_the_kit_passes_here() -> None:
    problem = Problem(what=f"{KEY}\x1b[2J", where=f"x/{KEY}.csv", cure=f"use {in_base64(f'kim:{KEY}')}\x07")
    assert str(problem) == "x/***.csv: ***\\x1b[2J → use ***\\x07"
    assert not gives_away(json.dumps(problem.as_json()), KEY)
