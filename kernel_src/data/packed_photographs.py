"""## Photographs in a few files

A dataset may have 50 files at its top, and Kaggle's client drops its folders: hundreds of photographs cannot go there
as they lie. So they travel in `photographs-….safetensors`, each as the very bytes of its file under its own name, and
are written out once where they are needed.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kernel_src.runtime.untrusted import quoted
from kernel_src.runtime.weight_files import open_weights

PACK_NAME, PACKS = "photographs-{:03d}.safetensors", "photographs-*.safetensors"


def packs_in(folder: Path) -> list[Path]:
    """List the packs that lie in a folder, in order."""
    return sorted(folder.glob(PACKS))


def unpack_photographs(packs: Sequence[Path]) -> Path:
    """Write the packed photographs out below the scratch folder and return where; what is there already is taken.

    Several processes may do so at once: each writes its own draft, and the first to finish renames it.

    Raises:
        ValueError: a name leads out of the folder, or something in there is not the bytes of a file.
        WeightsError: a pack is not a file of tensors.
    """
    stamps = [(str(pack.resolve()), pack.stat().st_size, pack.stat().st_mtime_ns) for pack in packs]
    key = hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]
    folder = Path(os.path.abspath(tempfile.gettempdir())) / "external" / key
    if folder.is_dir():
        return folder
    draft = folder.with_name(f"{key}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for pack in packs:
        with open_weights(pack, "np") as photographs:
            for name in photographs.keys():  # noqa: SIM118  (safe_open is not a mapping)
                path = Path(os.path.abspath(draft / name))
                if not path.is_relative_to(draft) or path == draft or "\0" in name:
                    raise ValueError(
                        f"{pack} has {quoted(name)}, which leads out of the folder: make the dataset again"
                    )
                if photographs.get_slice(name).get_dtype() != "U8":
                    raise ValueError(
                        f"{pack} has {quoted(name)}, which is not the bytes of a file: make the dataset again"
                    )
                path.parent.mkdir(parents=True, exist_ok=True)
                photographs.get_tensor(name).tofile(path)
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, with the same bytes
            raise
        shutil.rmtree(draft)
    return folder
