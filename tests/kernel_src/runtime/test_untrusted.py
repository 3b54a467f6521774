"""What a file says about itself is believed only in the form that it must have."""

import pytest

from kernel_src.runtime.manifest import checked_sha256
from kernel_src.runtime.untrusted import checked_count, checked_file_name, quoted


@pytest.mark.parametrize("value", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" + "a" * 61, "-O" + "a" * 62, None, 7])
def test_only_64_lower_case_hex_digits_are_a_hash(value):
    with pytest.raises(ValueError, match="is not a sha256"):
        checked_sha256(value)


def test_a_hash_is_returned_as_it_is():
    assert checked_sha256("0a" * 32) == "0a" * 32


@pytest.mark.parametrize("value", ["1", True, 1.0, -1, None, [1]])
def test_only_whole_numbers_from_zero_are_counts(value):
    with pytest.raises(ValueError, match="is not a count"):
        checked_count(value)


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", ".bashrc", "-rf", "/etc/passwd", "a/b", "..\\a", "C:x", "a\nb", "a\x1b[2J", "e\u0301", "x" * 201, 3]
    + ["a\u202eb", "a\ud800"],
)
def test_a_file_name_leads_nowhere_else_and_can_be_written_in_one_way_only(value):
    with pytest.raises(ValueError, match="file"):
        checked_file_name(value)


@pytest.mark.parametrize("value", ["fold0.safetensors", "a b.csv", "Weiß_ü.jpg", "v2--final.bin", "1"])
def test_ordinary_names_pass(value):
    assert checked_file_name(value) == value


def test_a_quoted_value_is_one_short_line_without_control_characters():
    text = quoted("\x1b]0;title\x07\n" + "x" * 5000)
    assert len(text) <= 80 and text.isprintable()
