"""Names, slugs and text from outside."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.core.untrusted import inside, object_in, plain_text
from kernel_src.runtime.manifest import checked_slug


@given(st.text() | st.from_regex(r"(\.\.?/|/|a|\\|-){1,8}"))
def test_no_name_leads_out_of_its_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        path = inside(folder, name)
    except ValueError:
        return
    assert path.resolve().is_relative_to(folder.resolve()) and path != folder


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="by a link"):
        inside(folder, "out/secret.json")


def test_a_name_in_a_subfolder_is_found_there(tmp_path):
    assert inside(tmp_path, "a/b.py") == tmp_path / "a" / "b.py"


@pytest.mark.parametrize("value", ["", "-x", "x-", "A", "a/b", "a" * 51, "a b", "a\n", None])
def test_only_kaggles_own_form_is_a_slug(value):
    with pytest.raises(ValueError):
        checked_slug(value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000])
def test_what_is_no_json_object_counts_as_an_empty_one(text):
    assert object_in(text) == {} and object_in('{"a": 1}') == {"a": 1}


def test_what_steers_a_terminal_is_shown_as_text():
    sent = "\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x1b[2J a\rb \x9b1m \u202eabc\nnext\tline ü"
    shown = plain_text(sent)
    assert shown == "red \\x1b]0;owned\\x07 \\x1b[2J a\\rb \\x9b1m \\u202eabc\nnext\tline ü"


@given(st.text())
def test_shown_text_holds_no_control_character(text):
    assert all(
        character.isprintable() or category(character) == "Zs"
        for character in plain_text(text)
        if character not in "\n\t"
    )
