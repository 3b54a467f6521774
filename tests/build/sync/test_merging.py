"""Three texts become one: both sides' changes, each once, or a conflict."""

from build.sync.merging import merge_text

A, B = "def a():\n    return 1\n", "# %%\n# one of two\ndef b():\n    return 1\n"
F, G = "def f():\n    return 2\n", "# %%\ndef g():\n    return 3\n"
GAP = "\n\n"


def test_what_both_sides_brought_in_is_never_there_twice() -> None:
    """git places the two insertions on either side of a line that is in both, and sees no conflict."""
    base = A + GAP + B
    mine = A + GAP + F + GAP + G + GAP + B
    theirs = A + GAP + "# %%\n" + F + GAP + "t = 1\n" + GAP + G + GAP + B
    merge = merge_text(mine, base, theirs)
    assert merge.conflicts == 1
    inside = f"<<<<<<< sources\n{F}=======\n# %%\n{F}{GAP}t = 1\n>>>>>>> notebook\n"
    assert merge.text == A + GAP + inside + GAP + G + GAP + B


def test_lines_that_were_there_before_may_come_in_on_both_sides() -> None:
    base = A + GAP + B
    mine, theirs = "x = 0\n    return 1\n" + base, base + "y = 0\n    return 1\n"
    assert merge_text(mine, base, theirs).text == mine + "y = 0\n    return 1\n"
