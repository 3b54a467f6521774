"""Pages: whatever a value holds is shown and never obeyed, and a template that names what is not there fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from build.core.pages import ROOT, find_loads, render, web_page
from build.scores.board import Board
from build.scores.board_page import page

HOSTILE = """<script>x</script><img src=x onerror=1>"' onload="1" {{ 7 * 7 }}"""


@pytest.mark.parametrize("template", [path for room in ("build", "bench") for path in (ROOT / room).rglob("*.jinja")])
def test_no_template_lets_a_text_through_unescaped(template: Path) -> None:
    text = template.read_text()
    assert not any(word in text for word in ("|safe", "| safe", "autoescape", "|striptags", "xmlattr")), template
    assert not find_loads(text.replace('src="{{ thumbnail(', 'src="data:'))


def test_a_hostile_name_is_text_in_title_sentence_and_link() -> None:
    verdict = {"sentence": HOSTILE, "next": HOSTILE}
    body = render("build/report/lead.html.jinja", verdict=verdict, sections=[("a", HOSTILE)])
    text = web_page(HOSTILE, body)
    assert not find_loads(text) and "<img" not in text and ' onload="' not in text and "{{ 7 * 7 }}" in text
    assert text.count("&lt;script&gt;x&lt;/script&gt;") == 5


def test_a_string_as_body_is_escaped_unlike_what_a_template_made() -> None:
    assert "&lt;p&gt;" in web_page("t", "<p>")  # type: ignore[arg-type]


def test_a_value_that_is_not_there_is_an_error_and_no_gap() -> None:
    with pytest.raises(UndefinedError, match="verdict"):
        render("build/report/lead.html.jinja")


def test_a_board_with_nothing_on_it_has_a_page_without_a_picture() -> None:
    empty = Board(points=(), published=(), expected=None, by_others=None, notes=(), formula="")
    assert "<svg" not in page(empty) and "None with both yet." in page(empty)


def test_what_imports_the_pages_waits_for_neither_matplotlib_nor_jinja2() -> None:
    code = (
        "import sys, build.report.command, build.scores.board_page; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
