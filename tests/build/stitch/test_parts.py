"""Optional parts: an import marked `# part: NAME` is followed only in the notebooks that have the part."""

from collections.abc import Iterator

import pytest

from build.core.errors import CheckFailed
from build.stitch.assembly import stitch_from
from build.stitch.template import Stitched, read_template
from tests.build.stitch.conftest import Package

REGISTRY = """
    TRICKS = {}
    """
TRICK = """
    from p.registry import TRICKS


    def {name}():
        return "{name}"


    TRICKS["{name}"] = {name}
    """
TOY = {
    "p/__init__.py": "",
    "p/registry.py": REGISTRY,
    "p/jump.py": TRICK.format(name="jump"),
    "p/sing.py": TRICK.format(name="sing"),
    "p/circus.py": """
    import p.jump  # noqa: F401  # part: jumping
    import p.sing  # part: singing
    from p.registry import TRICKS


    def show():
        return [trick() for trick in TRICKS.values()]
    """,
    "main.py": """
    # %% tags=["parameters"]
    PARTS = ("jumping", "singing")

    # %%
    from p.circus import show

    print(show(), PARTS)
    """,
}


def ran(code: list[str]) -> dict:
    names: dict = {}
    for cell in code:
        exec(cell, names)
    return names


def test_a_notebook_has_the_parts_that_its_parameter_names_and_all_where_nothing_is_said(package) -> None:
    made: Package = package(TOY)
    for parameters, held in (
        ({}, ["jump", "sing"]),
        ({"PARTS": ("jumping", "singing")}, ["jump", "sing"]),
        ({"PARTS": ("singing",)}, ["sing"]),
        ({"PARTS": ()}, []),
    ):
        code = made.code(parameters=parameters)
        assert ran(code)["show"]() == held
        text = "\n".join(code)
        assert all((f"def {name}" in text) == (name in held) for name in ("jump", "sing"))
        assert "import p" not in text and "part:" not in text
        sources = made.stitch(parameters=parameters).sources
        assert [f"p/{name}.py" in sources for name in ("jump", "sing")] == [name in held for name in ("jump", "sing")]


def test_the_whole_package_and_a_notebook_with_all_parts_print_the_same(package) -> None:
    assert package(TOY).must_agree() == "['jump', 'sing'] ('jumping', 'singing')\n"


def test_the_same_sources_with_other_parts_have_another_hash(package) -> None:
    made: Package = package(TOY)
    hashes = {made.stitch(parameters={"PARTS": parts}).source_sha256 for parts in ((), ("jumping",), ("singing",))}
    assert len(hashes) == 3


def test_a_part_that_no_import_is_marked_with_is_refused_with_those_that_there_are(package) -> None:
    made: Package = package(TOY)
    (reason,) = made.refusals(parameters={"PARTS": ("jumping", "sining")})
    assert "PARTS names 'sining', which is not an optional part" in reason and "there are jumping, singing" in reason


def test_a_part_whose_names_are_imported_is_refused(package) -> None:
    circus = TOY["p/circus.py"].replace("import p.sing  # part", "from p.sing import sing  # part")
    (reason,) = package({**TOY, "p/circus.py": circus}).refusals()
    assert "p/circus.py:2" in reason and "without the part 'singing'" in reason and "write `import p.sing`" in reason


def one_after_the_other(made: Package, *chosen: tuple[str, ...]) -> Iterator[Stitched]:
    """Stitch with these parts in turn, each template read like the one before."""
    template = None
    for parts in chosen:
        template = read_template(made.root / "main.py", made.root, {"PARTS": parts}, like=template)
        yield stitch_from(template, {"PARTS": parts})


def test_a_template_read_like_one_with_other_parts_makes_the_notebook_that_it_makes_by_itself(package) -> None:
    made: Package = package(TOY)
    orders = ((), ("jumping",), ("singing",), ("jumping", "singing"))
    for chosen in (orders, orders[::-1]):
        for parts, stitched in zip(chosen, one_after_the_other(made, *chosen), strict=True):
            assert stitched.notebook == made.stitch(parameters={"PARTS": parts}).notebook


def test_a_name_taken_from_a_part_is_refused_without_it_also_after_a_template_that_has_it(package) -> None:
    circus = TOY["p/circus.py"].replace("trick() for", "p.sing.sing() for")
    made: Package = package({**TOY, "p/circus.py": circus})
    stitched = one_after_the_other(made, ("jumping", "singing"), ("jumping",))
    assert "p/sing.py" in next(stitched).sources
    with pytest.raises(CheckFailed, match="p.sing is used but never imported"):
        next(stitched)
