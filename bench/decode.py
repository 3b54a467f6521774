"""From a JPEG to a normalised float32 tensor on the CPU: ours against what is usually written.

Ours: `read_rgb` at the smallest DCT scale that serves, `resize_rgb` (antialiased), `normalise`. The usual: `cv2.imread`
at full size, `cvtColor`, albumentations' Resize (linear, without antialiasing), Normalize, ToTensorV2. One thread each,
as in a worker that decodes beside others, in seconds of the processor. `_kept_memory`: both with freed memory kept for
reuse, as the notebooks do and a user's script does not; the page faults of large pictures then cost the usual way less.
"""

import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.timing import plan, speedup

SIZES_PX = (384, 518, 768, 1024)


def measure(quick: bool) -> dict[str, Any]:
    """Return `decode.<px>.speedup` on the real photograph where there is one, and on painted ones."""
    import cv2
    import torch

    from bench.material import painted_photographs, real_photographs
    from kernel_src.runtime.memory import keep_freed_memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    plan(16 if real_photographs() else 8)  # both ways of four sizes
    pairs = 5 if quick else 60
    painted, real = painted_photographs(), real_photographs()
    found: dict[str, Any] = {str(px): {} for px in SIZES_PX}
    for how in ("", "_kept_memory"):
        for px in SIZES_PX:
            of_painted = _speedup(painted, px, pairs)
            found[str(px)][f"speedup{how}"] = _speedup(real, px, pairs) if real else of_painted
            found[str(px)][f"speedup_painted{how}"] = of_painted
        keep_freed_memory()  # cannot be undone
    found["photographs"] = "the real one, 2000 x 1000, 0.49 MB" if real else "painted ones, 2000 x 1000, about 0.9 MB"
    return {"decode": found}


def _speedup(paths: list[Path], px: int, pairs: int) -> dict[str, Any]:

    ours, theirs = our_tensor(px), usual_tensor(px)
    mine, other = cycle(paths), cycle(paths)
    return speedup(
        lambda: ours(next(mine)), lambda: theirs(next(other)), pairs, warm_up=len(paths), clock=time.process_time
    )


def our_tensor(px: int) -> Callable[[Path], Any]:
    """Return the kit's way to a normalised tensor (3, px, px)."""
    from kernel_src.data.images import Framing, picture_tensor, read_rgb, resize_rgb
    from kernel_src.data.preprocessing import Preprocessing

    framing = Framing(px, px)
    preprocessing = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    def tensor(path: Path) -> Any:
        return preprocessing.normalise(picture_tensor(resize_rgb(read_rgb(path, framing.size_px), framing))[None])[0]

    return tensor


def usual_tensor(px: int) -> Callable[[Path], Any]:
    """Return the usual way to a normalised tensor (3, px, px)."""
    import albumentations
    import cv2
    from albumentations.pytorch import ToTensorV2

    steps = albumentations.Compose([albumentations.Resize(px, px), albumentations.Normalize(), ToTensorV2()])

    def tensor(path: Path) -> Any:
        return steps(image=cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))["image"]

    return tensor
