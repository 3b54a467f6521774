"""The toy package on which the peers fail (facts/peers.md), with our result; the right answer is 465."""

import pytest

TOY = {
    "toy/__init__.py": '"""A toy."""\nfrom .core import Engine as Engine\n',
    "toy/core.py": '''
        """## Core"""
        from __future__ import annotations

        import math as m
        from .shapes import area as surface, SIDE


        def _scale(x: int) -> int:
            return x * 3


        class Engine:
            def run(self) -> int:
                from .late import offset  # lazy

                return _scale(surface(SIDE)) + int(m.sqrt(81)) + offset()
    ''',
    "toy/shapes.py": '''
        """## Shapes"""
        from __future__ import annotations

        SIDE = 12


        def _HELPER(x: int) -> int:
            return x + 0


        def area(side: int) -> int:
            return _HELPER(side) * side
    ''',
    "toy/late.py": "def offset() -> int:\n    return 24\n",
    "toy/dead.py": "print('dead modules must not run')\nraise SystemExit(3)\n",
    "main.py": '''
        # %% [markdown]
        # # Toy
        # A triple-quoted string below holds an import, and a comment here says `# ls everything`.

        # %%
        from __future__ import annotations

        from toy import Engine as E

        TEXT = """
        from toy.dead import *
        """
        print(E().run())
    ''',
}  # fmt: skip
FUTURE_LATE = {"toy/late.py": "from __future__ import annotations\n" + TOY["toy/late.py"]}


def test_toy_package_gives_465(package):
    assert package({**TOY, **FUTURE_LATE}).must_agree() == "465\n"


def test_dead_module_stays_out_and_live_ones_come_once(package):
    stitched = package({**TOY, **FUTURE_LATE}).stitch()
    assert stitched.sources == ("toy/shapes.py", "toy/late.py", "toy/core.py", "toy/__init__.py", "main.py")
    assert b"dead modules" not in stitched.notebook


@pytest.mark.parametrize("twin", ["_scale", "_HELPER"])
def test_duplicate_private_helper_is_refused_by_name_where_rep2nb_answers_88(package, twin):
    """rep2nb 0.1.0 lets the last `_helper` win and prints 88 without a warning."""
    text = f"\n\ndef {twin}(x: int) -> int:\n    return 1\n"
    made = package({**TOY, **FUTURE_LATE, "toy/late.py": FUTURE_LATE["toy/late.py"] + text})
    (reason,) = made.refusals()
    assert f"{twin} is defined here and in toy/" in reason and reason.startswith("toy/")


def test_future_import_that_only_some_share_is_refused(package):
    """In one cell it would leak into all later ones; `toy/late.py` has an annotation and does not ask for it."""
    (reason,) = package(TOY).refusals()
    assert reason.startswith("toy/late.py:1: annotations are evaluated here, but toy/shapes.py postpones")


def test_comments_and_strings_are_not_taken_for_code(package):
    """jupytext's default turns `# ls everything` into code; kaggle-kernelifier's expressions match inside strings."""
    code = "\n".join(package({**TOY, **FUTURE_LATE}).code())
    assert "from toy.dead import *" in code
    assert "!ls" not in code


def test_aliases_are_kept_where_kaggle_kernelifier_drops_them(package):
    code = "\n".join(package({**TOY, **FUTURE_LATE}).code())
    assert "surface = area" in code and "E = Engine" in code and "import math as m" in code


def test_two_builds_give_the_same_bytes_where_repo2nb_writes_times_and_random_ids(package):
    made = package({**TOY, **FUTURE_LATE})
    assert made.stitch().notebook == made.stitch().notebook


def test_a_chain_of_60_modules_keeps_all_60_where_kaggle_kernelifier_keeps_one(package):
    chain = {
        f"c/m{n}.py": f"from c.m{n - 1} import f{n - 1}\ndef f{n}(x):\n    return f{n - 1}(x) + {n}\n"
        for n in range(1, 60)
    }
    chain["c/m0.py"] = "def f0(x):\n    return x\n"
    made = package({**chain, "main.py": "from c.m59 import f59\nprint(f59(0))\n"})
    assert made.must_agree() == "1770\n"
    assert len(made.stitch().sources) == 61
