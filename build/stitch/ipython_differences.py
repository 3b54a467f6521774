"""What IPython changes in a cell before Python sees it, and how a cell is written so that it changes nothing.

Each cell starts with a comment in the first column, so no magic, no indentation and no prompt can be seen there. What
is left: a second line that looks like a prompt, spaces on an otherwise empty line inside a string (IPython dedents),
and `>>>` where its heuristics take a docstring for a pasted session.
"""

from build.stitch.drafts import Line
from build.stitch.library import Library
from build.stitch.modules import Module


def looks_like_prompt(text: str) -> bool:
    """Whether IPython may take a cell's second line for a prompt: a blank line above it prevents that."""
    return text.lstrip().startswith(("...", ">>>")) or text.startswith(("In [", " In [", "[nav]", "[ins]"))


def refuse_blank_strings(module: Module, lines: list[Line], library: Library) -> None:
    """IPython empties lines of spaces, in strings too, where they are part of the value."""
    for line in lines:
        if line.text and not line.text.strip() and line.number in module.string_lines:
            library.refuse(
                module.at(line.number), "IPython removes the spaces on this line of a string", r"write them as \x20"
            )


def is_suspicious(source: str) -> bool:
    """Whether a cell has any line that one of IPython's transformers looks at: rare, and then it is asked itself."""
    for line in source.split("\n"):
        text = line.strip()
        if text.startswith((">>>", "...", "%", "!", "?", ",", ";", "/")) or text.endswith("?"):
            return True
        if not text and line:
            return True
    return "= %" in source or "= !" in source or "=%" in source or "=!" in source


def transformed(source: str) -> str:
    """Return a cell as IPython hands it to Python, without the newline that it adds."""
    from IPython.core.inputtransformer2 import TransformerManager

    result: str = TransformerManager().transform_cell(source)
    return result if source.endswith("\n") else result.removesuffix("\n")
