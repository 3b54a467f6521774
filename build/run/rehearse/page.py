"""The executed notebook as one page: no script, nothing loaded from anywhere, pictures inside the page.

Of the notebook only texts and pictures reach the template, which escapes the texts; what is HTML, or becomes HTML from
Markdown, is cleaned on its way. A content policy in the page says the same to the browser once more.
"""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

# Nothing is allowed but the page's own styles and pictures that lie in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# The first of these that an output has is shown; what else there is (scripts, widgets, Vega, PDF) is named.
SHOWN = (
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "text/latex",
    "text/plain",
)
TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl"),
    *("dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li"),
    *("main", "mark", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "summary", "sup"),
    *("table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var"),
}
ATTRIBUTES = {"align", "alt", "class", "colspan", "height", "id", "open", "rowspan", "scope", "start", "title", "width"}
STYLES = {
    *("background-color", "border", "border-collapse", "color", "font-family", "font-size", "font-style"),
    *("font-weight", "height", "margin", "max-width", "padding", "text-align", "text-decoration", "vertical-align"),
    *("white-space", "width"),
}
PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*")
# For the eye only: cleaning takes the tags away, and would leave their text.
_CODE = re.compile(r"<(style|script|template|iframe|object|noscript)\b.*?(?:</\1\s*>|$)", re.IGNORECASE | re.DOTALL)
LARGEST_FRAGMENT = 2_000_000  # characters of foreign HTML; cleaning takes about 10 s for as many
TOO_ODD = "<p>This notebook cannot be shown as a page; its file {name} is as the run left it.</p>"


def render_html(executed: Path, page: Path) -> None:
    """Render the executed notebook as a page that runs nothing and loads nothing."""
    import nbformat
    from jinja2 import pass_context
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="")
    _trust_pygments(exporter)
    render = exporter.environment.filters["markdown2html"]
    exporter.register_filter("markdown2html", pass_context(lambda context, source: clean(render(context, source))))
    notebook = nbformat.from_dict(_plain_notebook(json.loads(executed.read_text(encoding="utf-8"))))
    try:
        whole, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
        body = whole.partition("<body")[2].partition(">")[2].rpartition("</body>")[0]
    except RecursionError:
        body = TOO_ODD.format(name=html.escape(executed.name))
    head = [
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1.0">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{html.escape(executed.stem)}</title>",
        *_own_styles(exporter),
    ]
    top = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{chr(10).join(head)}\n</head>\n'
    page.write_text(f'{top}<body class="jp-Notebook">\n{body}\n</body>\n</html>\n', encoding="utf-8")


class _Escaped(str):
    """What pygments makes of code: it has escaped every character that HTML reads."""


def _trust_pygments(exporter: Any) -> None:
    """Let the template not clean the code cells once more, which took half of a page's time."""
    from nbconvert.filters import Highlight2HTML

    highlight, clean_html = Highlight2HTML(pygments_lexer="python"), exporter.environment.filters["clean_html"]
    exporter.filters = {"highlight_code": lambda source, **_: _Escaped(highlight(source))}
    exporter.register_filter("clean_html", lambda body: body if isinstance(body, _Escaped) else clean_html(body))


def clean(body: str) -> str:
    """Return HTML from anywhere with nothing in it that runs, loads, or leaves its place."""
    from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]
    from bleach.sanitizer import Cleaner  # type: ignore[import-untyped]

    css = CSSSanitizer(allowed_css_properties=STYLES, allowed_svg_properties=())
    body = _CODE.sub("", body)
    if len(body) > LARGEST_FRAGMENT:
        return f"<p>{len(body):,} characters of HTML: not shown here</p>"
    cleaner = Cleaner(
        tags=TAGS, attributes=_is_allowed, protocols={"http", "https", "data"}, strip=True, css_sanitizer=css
    )
    return str(cleaner.clean(body))


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if name == "style":
        return "(" not in value and "\\" not in value  # url(), image-set(), expression()
    if tag == "img" and name == "src":
        return PICTURE.fullmatch(value) is not None
    if tag == "a" and name == "href":  # a click is the reader's own; nothing is loaded before
        return value.startswith(("#", "https://", "http://"))
    return name in ATTRIBUTES


def _own_styles(exporter: Any) -> list[str]:
    """Take the style sheets from the page of an empty notebook: nothing of the real one has been near them."""
    import nbformat

    empty, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(), {"metadata": {"name": ""}})
    return re.findall(r"<style\b.*?</style>", empty.partition("<body")[0], re.DOTALL)


def _plain_notebook(content: dict[str, Any]) -> dict[str, Any]:
    """Leave of each cell and output what the page shows; pictures in SVG, which may hold scripts, become files in it."""  # noqa: E501
    cells = []
    for cell in content["cells"]:
        kept = {"cell_type": cell["cell_type"], "metadata": {}, "source": _text(cell["source"])}
        if cell["cell_type"] == "markdown":
            kept["attachments"] = cell.get("attachments", {})
        if cell["cell_type"] == "code":
            kept |= {
                "execution_count": cell.get("execution_count"),
                "outputs": list(map(_plain_output, cell["outputs"])),
            }
        cells.append(kept)
    metadata = {"language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def _plain_output(output: dict[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "stream":
        return output | {"name": "stderr" if output["name"] == "stderr" else "stdout"}
    if output["output_type"] not in ("display_data", "execute_result"):
        return output
    data = output["data"]
    kind = next((kind for kind in SHOWN if isinstance(data.get(kind), str | list)), "")
    content = _text(data[kind]) if kind else f"[{', '.join(map(str, data)) or 'nothing'}: not shown here]"
    if kind == "text/html":
        content = clean(content)
    elif kind == "image/svg+xml":
        encoded = base64.b64encode(content.encode(errors="replace")).decode()
        kind, content = "text/html", f'<img src="data:image/svg+xml;base64,{encoded}" alt="SVG">'
    elif kind.startswith("image/"):
        kind, content = "text/html", clean(f'<img src="data:{kind};base64,{html.escape(content)}" alt="picture">')
    elif kind == "text/latex":
        kind = "text/plain"
    return output | {"data": {kind or "text/plain": content}, "metadata": {}}


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)
