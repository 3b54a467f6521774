"""What a hostile notebook may not do: read or change anything beside its kit."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Tree = dict[str, tuple[int, bytes]]


def tree(folder: Path, but: str = "") -> Tree:
    """Every file with its time and content; `but` names a folder that is left out."""
    found: Tree = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if but and (name == but or name.startswith(f"{but}/")):
            continue
        status = path.lstat()
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[name] = (status.st_mtime_ns if path.is_file() else 0, content)
    return found


class Opened:
    """Which files this process opened while it was watched; the hook itself stays for good and costs nothing."""

    names: list[str] | None = None

    @classmethod
    def hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.names is not None and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            cls.names.append(os.path.realpath(os.fsdecode(arguments[0])))


sys.addaudithook(Opened.hook)


@contextmanager
def nothing_outside(outer: Path) -> Iterator[None]:
    """Fail where anything beside `outer/kit` is read or changed."""
    before = tree(outer, but="kit")
    Opened.names = []
    try:
        yield
    finally:
        names, Opened.names = Opened.names, None
    assert tree(outer, but="kit") == before
    kit = f"{outer.resolve()}/kit/"
    assert [name for name in names if name.startswith(f"{outer.resolve()}/") and not name.startswith(kit)] == []
