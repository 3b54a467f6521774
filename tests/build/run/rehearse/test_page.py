"""The page of a stranger's notebook runs nothing, loads nothing, and still shows its pictures."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from build.run.rehearse.page import POLICY, render_html
from tests.browser import INSTALL, Browser, find_chromium

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one point
THERE = "http://127.0.0.1:9/leak"
HTML = (
    "<script>document.title='ran'</script>",
    "<SCRIPT SRC='{there}'></SCRIPT>",
    "<scr<script>ipt>document.title='ran'</scr</script>ipt>",
    "<img src=x onerror=\"document.title='ran'\"><img src='{there}'><img srcset='{there} 1x'>",
    "<svg onload=\"document.title='ran'\"><script>document.title='ran'</script><image href='{there}'/></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=document.title=1&gt;'>",
    "<iframe src='{there}'></iframe><iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "<object data='{there}'></object><embed src='{there}'><video src='{there}' poster='{there}'></video>",
    "<meta http-equiv='refresh' content='0; url={there}'><base href='{there}/'><link rel=stylesheet href='{there}'>",
    "<form action='{there}'><input name=a autofocus onfocus=\"document.title='ran'\"><button>x</button></form>",
    "<style>@import '{there}'; body {{ background: url({there}) }}</style>",
    "<div style=\"background: url('{there}')\">x</div><div style='background:u\\72l({there})'>x</div>",
    "<a href=\"javascript:document.title='ran'\">x</a><a href='java&#10;script:alert(1)'>x</a><a ping='{there}' href='#'>x</a>",  # noqa: E501
    "<details open ontoggle=\"document.title='ran'\">x</details><body onload=\"document.title='ran'\">",
    "<noscript><p title=\"</noscript><img src=x onerror=document.title='ran'>\"></noscript>",
    "</div></body></html><script>document.title='ran'</script>",
)
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='document.title=1'><image href='{THERE}'/></svg>"  # noqa: E501
MARKDOWN = (
    "[x](javascript:document.title='ran') ![x]({there}) <script>document.title='ran'</script> <img src=x onerror=alert(1)>",  # noqa: E501
    "<{there}> [x]: {there}\n\n![ref][x]\n\n```html\n<b>shown as text</b>\n```",
)
DANGEROUS = {"base", "button", "embed", "form", "iframe", "input", "link", "object", "script", "svg", "video", "math"}


def hostile_notebook(folder: Path) -> Path:
    """Write a notebook with something hostile under every mime type, and the pictures that must stay."""
    datas = [{"text/html": text.format(there=THERE), "text/plain": "x"} for text in HTML]
    datas += [{"text/markdown": text.format(there=THERE)} for text in MARKDOWN]
    datas += [
        {"image/svg+xml": SVG},
        {"image/png": PIXEL},
        {"image/jpeg": PIXEL},
        {"image/png": "\"><script>document.title='ran'</script>"},
        {"application/javascript": "document.title='ran'", "text/plain": "a script"},
        {"text/latex": r"\href{javascript:document.title='ran'}{x} <script>document.title='ran'</script>"},
        {"application/vnd.vega.v5+json": {"data": [{"url": THERE}]}, "application/pdf": "x"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "</script><script>document.title='ran'</script>"}},
        {"text/vnd.mermaid": "graph LR; a-->b", "text/plain": "b"},
        {"<script>document.title='ran'</script>": "x"},
        {
            "text/html": f'<table class="dataframe"><tr><td>kept</td></tr></table><img src="data:image/png;base64,{PIXEL}">'  # noqa: E501
        },
    ]
    outputs = [{"output_type": "display_data", "data": data, "metadata": {}} for data in datas]
    bad = "<script>document.title='ran'</script>\x1b[31m<img src=x onerror=document.title=1>"
    outputs += [
        {"output_type": "stream", "name": '"><script>document.title=1</script>', "text": bad},
        {"output_type": "error", "ename": bad, "evalue": bad, "traceback": [bad]},
    ]
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": text.format(there=THERE)} for text in (*HTML, *MARKDOWN)
    ]
    cells += [{"cell_type": "raw", "metadata": {"raw_mimetype": "text/html"}, "source": HTML[0]}]
    cells += [{"cell_type": "code", "execution_count": 1, "metadata": {}, "source": bad, "outputs": outputs}]
    metadata = {
        "title": bad,
        "language_info": {"name": bad},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
    }
    path = folder / "hostile.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}))
    return path


class Parsed(HTMLParser):
    """Notes every element of a page, in the order in which they come."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    made = folder / "hostile.html"
    render_html(hostile_notebook(folder), made)
    return made


def test_no_element_or_attribute_is_left_that_runs_or_loads(page: Path) -> None:
    text = page.read_text()
    elements = Parsed(text).elements
    body = elements[[tag for tag, _ in elements].index("body") :]
    assert not {tag for tag, _ in elements} & DANGEROUS
    assert not {tag for tag, _ in body} & {"style", "meta", "title"}
    for tag, attributes in body:
        assert not [name for name in attributes if name.startswith("on") or name in ("srcset", "ping", "formaction")]
        assert tag != "img" or (attributes.get("src") or "data:image/").startswith("data:image/")
        assert not (attributes.get("href") or "#").lower().strip().startswith(("javascript", "data", "vbscript"))
        assert "url" not in (attributes.get("style") or "")
    metas = [attributes for tag, attributes in elements if tag == "meta"]
    assert metas[0] == {"http-equiv": "Content-Security-Policy", "content": POLICY}, "before anything else"
    pictures = [attributes["src"] for tag, attributes in body if tag == "img" and attributes.get("src")]
    assert sum(PIXEL in (source or "") for source in pictures) == 3
    svg = base64.b64encode(SVG.encode()).decode()
    assert f"data:image/svg+xml;base64,{svg}" in pictures, "as a picture, in which nothing runs and nothing is loaded"
    assert "kept" in text and "shown as text" in text and "application/pdf: not shown here" in text
    assert "a script" in text, "the next best that the output has"


def test_a_browser_runs_nothing_of_it_and_asks_for_nothing(page: Path) -> None:
    if not find_chromium():
        pytest.skip(INSTALL)
    with Browser() as browser:
        browser.go(page.as_uri())
        browser.evaluate("new Promise(done => setTimeout(done, 500))")
        assert browser.evaluate("document.title") == "hostile"
        assert browser.evaluate("document.images.length") >= 4
        assert browser.evaluate("location.href") == page.as_uri()
        assert [address for address in browser.asked if not address.startswith("data:")] == [page.as_uri()]


def test_a_notebook_nested_too_deeply_for_a_page_is_no_traceback(tmp_path: Path) -> None:
    deep = {"output_type": "display_data", "data": {"text/markdown": "> " * 2000 + "x"}, "metadata": {}}
    deeper = {"output_type": "display_data", "data": {"text/html": "<div>" * 2000 + "x"}, "metadata": {}}
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "", "outputs": [deep, deeper]}
    path = tmp_path / "deep.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    render_html(path, tmp_path / "deep.html")
    assert "<body" in (tmp_path / "deep.html").read_text()
