"""A small package on disk, run as a package and as a notebook."""

import contextlib
import io
import json
import runpy
import sys
import types
from codeop import Compile
from pathlib import Path
from textwrap import dedent

import pytest

from build.core.errors import CheckFailed
from build.stitch import Stitched, compose, stitch


class Package:
    """Files under one folder; `main.py` is the script. An indented text on lines of its own is dedented."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root = root
        self.write({"main.py": "", **files})

    def write(self, files: dict[str, str]) -> "Package":
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((dedent(text)[1:] if text.startswith("\n    ") else text).encode())
        return self

    def stitch(self, main: str = "main.py", **more) -> Stitched:
        return stitch(self.root / main, self.root, **more)

    def cells(self, main: str = "main.py", **more) -> list[dict]:
        return json.loads(self.stitch(main, **more).notebook)["cells"]

    def code(self, main: str = "main.py", **more) -> list[str]:
        """The sources of the code cells."""
        return [cell["source"] for cell in self.cells(main, **more) if cell["cell_type"] == "code"]

    def refusals(self, main: str = "main.py", **more) -> list[str]:
        """Every reason, as `where: what → cure`; fails when there is none."""
        with pytest.raises(CheckFailed) as caught:
            self.stitch(main, **more)
        return [str(problem) for problem in caught.value.problems]

    def as_package(self, main: str = "main.py") -> str:
        """What the script prints when Python runs it with the root on its path."""
        before = set(sys.modules)
        own_main = sys.modules["__main__"]
        sys.path.insert(0, str(self.root))
        sys.dont_write_bytecode, wrote = True, sys.dont_write_bytecode
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                if "/" in main:
                    runpy.run_module(main.removesuffix(".py").replace("/", "."), run_name="__main__", alter_sys=True)
                else:
                    runpy.run_path(str(self.root / main), run_name="__main__")
        finally:
            sys.path.remove(str(self.root))
            sys.dont_write_bytecode = wrote
            sys.modules["__main__"] = own_main
            for name in set(sys.modules) - before:
                origin = getattr(sys.modules[name], "__file__", None) or ""
                if origin.startswith(str(self.root)) or not origin:
                    del sys.modules[name]
            sys.path_importer_cache.clear()
        return out.getvalue()

    def as_notebook(self, main: str = "main.py", pure: bool = False, **more) -> str:
        """What the notebook's cells print: through IPython's transformer, flags carried from cell to cell."""
        from IPython.core.inputtransformer2 import TransformerManager

        content = (compose(self.root / main, self.root) if pure else self.stitch(main, **more)).notebook
        module = types.ModuleType("__main__")
        own_main, sys.modules["__main__"] = sys.modules["__main__"], module
        compiler, out = Compile(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                for cell in json.loads(content)["cells"]:
                    if cell["cell_type"] == "code":
                        text = TransformerManager().transform_cell(cell["source"])
                        assert text == cell["source"] + "\n", "IPython changes this cell"
                        exec(compiler(text, cell["id"], "exec"), module.__dict__)
        finally:
            sys.modules["__main__"] = own_main
        return out.getvalue()

    def must_agree(self, main: str = "main.py") -> str:
        """Both ways print the same; return it."""
        package = self.as_package(main)
        assert self.as_notebook(main) == package
        return package


@pytest.fixture
def package(tmp_path):
    """Make a package from keyword-less files: `package({"main.py": …, "p/m.py": …})`."""
    return lambda files: Package(tmp_path, **files)


@pytest.fixture
def agree(package, tmp_path_factory):
    """Run somebody else's script and its notebook in a real kernel, with the same arguments: both print the same."""
    from tests.build.stitch.real_kernel import run_notebook, run_script

    def run(files: dict[str, str], arguments: str = "", main: str = "main.py", fresh: bool = False) -> str:
        made = package(files)
        script = run_script(made.root / main, made.root, arguments)
        stitched = made.stitch(main, arguments=arguments)
        notebook = run_notebook(stitched, tmp_path_factory.mktemp("there"), fresh=fresh)
        assert (notebook.code, notebook.printed) == (script.code, script.printed), (script, notebook)
        return script.printed

    return run
