"""What verbs print: JSON that every reader takes, numbers in one piece, sentences as they are."""

import pytest

from build.core.printing import print_json, print_line, print_table


def test_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"r2": float("nan")})


def test_an_interval_is_never_broken_over_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ["model"], ["R²"], [("a name " * 20, "0.712 [0.601, 0.823]")], dim=[("(mean)", "0.000")])
    assert "0.712 [0.601, 0.823]" in capsys.readouterr().out


def test_a_sentence_is_neither_wrapped_nor_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "a [bold]word[/bold] " * 20
    print_line(sentence)
    assert capsys.readouterr().out == f"{sentence}\n"
