"""What a file is that lies where weights should be.

Most often it is not the file at all: a pointer, a web page, half a download, or the file of another framework. The
message says which, and what to do about it.
"""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.untrusted import parsed_json

HEAD_BYTES = 4096
AGAIN, UNPACK, OTHER_RELEASE = (
    "download it again, whole",
    "unpack it, and name the file in it",
    "take its PyTorch release",
)
CONVERT = "make it into a dataset on your own machine: `python -m build weights SLUG --from FILE`"
SOURCE_PAGE = "download the file itself (on a page: its download link, signed in where the site asks for that)"
TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled; what torch.save wrote until 1.6


class FileKind(NamedTuple):
    """What a file is, told by its bytes and not by its name."""

    key: str  # "safetensors", "torch", or "other"
    what: str
    cure: str


# The first bytes of files that are met in the place of weights.
BEGINNINGS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which stands for the file",
        "run `git lfs pull`, or " + SOURCE_PAGE,
    ),
    (b"# xet version", "a Git Xet pointer, which stands for the file", SOURCE_PAGE),
    (b"/annex/objects/", "a git-annex pointer, which stands for the file", "run `git annex get`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow)", OTHER_RELEASE),
    (b"GGUF", "a GGUF file (llama.cpp)", OTHER_RELEASE),
    (b"\x93NUMPY", "a NumPy array", OTHER_RELEASE),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x89PNG", "a PNG picture", SOURCE_PAGE),
    (b"\xff\xd8\xff", "a JPEG picture", SOURCE_PAGE),
    (b"%PDF", "a PDF document", SOURCE_PAGE),
)


def check_kind(path: Path) -> None:
    """Make sure that a file is safetensors, and whole.

    Raises:
        WeightsError: it is something else; says what, and the cure.
    """
    kind = kind_of_file(path)
    if kind.key != "safetensors" or kind.cure:
        raise WeightsError(f"{path} is {kind.what}, wanted are weights as safetensors → {kind.cure}")


def kind_of_file(path: Path) -> FileKind:
    """Say what lies at a path where weights should be; of a large file only the head and the tables are read."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file" if path.exists() else "missing"
        return FileKind("other", what, "name the file of weights")
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not head:
        return FileKind("other", "an empty file", AGAIN)
    for beginning, what, cure in BEGINNINGS:
        if head.startswith(beginning):
            return FileKind("other", f"{what} ({size:,} bytes)", cure)
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head[257:262] == b"ustar":
        return FileKind("other", "a tar archive", UNPACK)
    if head[:1] == b"\x80" and TORCH_LEGACY in head[:32]:
        return FileKind("torch", "a checkpoint of torch.save", CONVERT)
    if re.match(rb"\x80[\x02-\x05]", head):
        return FileKind("other", "a Python pickle that torch.save did not write", "ask for the weights as safetensors")
    if head[8:9] == b"{":
        return _kind_of_safetensors(path, size, head)
    if (text := _as_text(head)) is not None:
        return _kind_of_text(text, size)
    if head[4:8] == b"TFL3":
        return FileKind("other", "a TensorFlow Lite file", OTHER_RELEASE)
    if path.suffix == ".onnx" or re.match(rb"\x08[\x03-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", head):
        return FileKind("other", "an ONNX file", OTHER_RELEASE)
    if path.suffix in (".pb", ".index") or ".data-0" in path.name:
        return FileKind("other", "a part of a TensorFlow model", OTHER_RELEASE)
    if path.suffix == ".msgpack":
        return FileKind("other", "a msgpack file (Flax)", OTHER_RELEASE)
    return FileKind("other", f"{size:,} bytes of no kind that is known here", AGAIN)


def _kind_of_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return FileKind("other", "a zip archive or a checkpoint of torch.save, cut short or damaged", AGAIN)
    parts = {name.partition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return FileKind("other", "a TorchScript program, which is code beside weights", "take its state dict")
    if "data.pkl" in parts:
        return FileKind("torch", "a checkpoint of torch.save", CONVERT)
    if "model.weights.h5" in names:
        return FileKind("other", "a Keras model", OTHER_RELEASE)
    if names and all(name.endswith(".npy") for name in names):
        return FileKind("other", "NumPy arrays (npz)", OTHER_RELEASE)
    return FileKind("other", f"a zip archive of {len(names)} files", UNPACK)


# %%
def _kind_of_safetensors(path: Path, size: int, head: bytes) -> FileKind:
    """Say what is wrong with a file that begins like safetensors and cannot be opened as such."""
    length = int.from_bytes(head[:8], "little")
    whole = FileKind("safetensors", "a safetensors file", "")
    if 8 + length > size:
        what = f"a safetensors file cut short: {size:,} bytes, its header alone takes {8 + length:,}"
        return whole._replace(what=what, cure=AGAIN)
    try:
        with path.open("rb") as handle:
            header = parsed_json(handle.read(8 + length)[8:])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return whole._replace(what="a safetensors file with a header that is not a table of tensors", cure=AGAIN)
    if wanted > size:
        return whole._replace(what=f"a safetensors file cut short: {size:,} bytes of {wanted:,}", cure=AGAIN)
    return whole


def _as_text(head: bytes) -> str | None:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, errors="replace").strip("\ufeff\ufffd \r\n\t\f")
    # A few characters of another encoding make no noise of it.
    is_text = text and text.count("\ufffd") * 10 <= len(text)
    return text if is_text and all(c.isprintable() or c in "\r\n\t\f" for c in text) else None


def _kind_of_text(text: str, size: int) -> FileKind:
    low = text.casefold()
    if low.startswith(("<!doctype html", "<html", "<head", "<body", "<!--", "<script")) or "<html" in low:
        return FileKind("other", f"a web page ({size:,} bytes)", SOURCE_PAGE)
    if low.startswith("<"):
        return FileKind("other", f"an XML document, perhaps a server's answer ({size:,} bytes)", SOURCE_PAGE)
    if '"weight_map"' in text:
        return FileKind("other", "the index of weights in several files", "take a release in one file")
    if text.startswith(("{", "[")):
        return FileKind("other", f"a JSON file ({size:,} bytes)", "name the file of weights beside it")
    return FileKind("other", f"a text file, perhaps a server's answer ({size:,} bytes)", SOURCE_PAGE)
