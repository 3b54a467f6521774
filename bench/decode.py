"""From a JPEG to a normalised float32 tensor on the CPU: ours against what is usually written, and readers compared.

Ours: `read_rgb` at the smallest DCT scale that serves, `resize_rgb` (antialiased), `normalise`. The usual: `cv2.imread`
at full size, `cvtColor`, albumentations' Resize (linear, without antialiasing), Normalize, ToTensorV2. One thread each,
as in a worker that decodes beside others, in seconds of the processor. `_kept_memory`: both with freed memory kept for
reuse, as the notebooks do and a user's script does not; the page faults of large pictures then cost the usual way less.
Half scale is never used where it leaves fewer rows than are wanted; what it
would cost there (518 of 500 rows) is given as the change of what ImageNet's EfficientNet-Lite0 sees, beside the change
that another photograph makes.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES_PX = (384, 518, 768, 1024)


def measure(quick: bool) -> dict[str, Any]:
    """Return `decode.<px>.speedup` on the real photograph where there is one, on painted ones too, and the readers."""
    import cv2
    import torch

    from bench.budget import plan
    from bench.photographs import painted_photographs, real_photographs
    from kernel_src.runtime.memory import keep_freed_memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    plan(18 if real_photographs() else 10)  # both ways of four sizes, readers, cost
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
    found["readers"] = _readers((real or painted)[0], pairs)
    found["cost"] = _cost([*real, *painted])
    return {"decode": found}


def _speedup(paths: list[Path], px: int, pairs: int) -> dict[str, Any]:
    import time
    from itertools import cycle

    from bench.pairs import speedup

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


# %%
def _readers(path: Path, rounds: int) -> dict[str, Any]:
    """Time every reader of Kaggle's image in turn, bytes in memory → RGB."""
    import time

    import cv2
    import numpy as np
    import torch
    from PIL import Image
    from torchvision.io import ImageReadMode, decode_jpeg

    from bench.budget import rounds as rounds_in_time
    from bench.pairs import amount

    raw = path.read_bytes()
    array, tensor = np.frombuffer(raw, np.uint8), torch.frombuffer(bytearray(raw), dtype=torch.uint8)

    def opencv(flag: int) -> Any:
        return cv2.cvtColor(cv2.imdecode(array, flag), cv2.COLOR_BGR2RGB)

    def pillow(shrink: int) -> Any:
        picture = Image.open(io.BytesIO(raw))
        picture.draft("RGB", (picture.width // shrink, picture.height // shrink))
        return np.asarray(picture.convert("RGB"))

    ways: dict[str, Callable[[], Any]] = {
        "opencv_full": lambda: opencv(cv2.IMREAD_COLOR),
        "opencv_half": lambda: opencv(cv2.IMREAD_REDUCED_COLOR_2),
        "pillow_full": lambda: pillow(1),
        "pillow_half": lambda: pillow(2),
        "torchvision_full": lambda: decode_jpeg(tensor, mode=ImageReadMode.RGB),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in rounds_in_time(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append((time.process_time() - start) * 1e3)
    return {name: amount(found, "ms") for name, found in seconds.items()}


def _cost(paths: list[Path]) -> dict[str, Any]:
    """Compare half scale with full scale at 384 (used) and 518 (not used): grey levels, and what a trained net sees."""
    import tempfile

    import cv2
    import numpy as np
    import timm
    import torch
    from safetensors.torch import load_file

    from bench.pairs import amount
    from build.weights.pretrained import LITE0_BACKBONE, lite0_dataset
    from kernel_src.data.images import Framing, read_rgb, resize_rgb
    from kernel_src.models.starting_weights import STARTING_WEIGHTS_FILE

    net = timm.create_model(LITE0_BACKBONE, num_classes=0).eval()
    with tempfile.TemporaryDirectory() as scratch:
        tensors = load_file(lite0_dataset(Path(scratch)) / STARTING_WEIGHTS_FILE)
    net.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("classifier.")})

    @torch.inference_mode()
    def seen(picture: np.ndarray) -> Any:
        return net(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1)[0]

    found: dict[str, Any] = {}
    for px in (384, 518):
        framing = Framing(px, px)
        full = [resize_rgb(read_rgb(path), framing) for path in paths]
        half = [resize_rgb(read_rgb(path, (500, 1000)), framing) for path in paths]
        usual = [cv2.resize(read_rgb(path), (px, px)) for path in paths]
        of_full = [seen(picture) for picture in full]
        between = np.mean([float((a - b).norm()) for i, a in enumerate(of_full) for b in of_full[:i]])

        def change(others: list[np.ndarray], base: list[Any] = of_full, scale: float = float(between)) -> Any:
            return amount([float((seen(o) - b).norm()) / scale for o, b in zip(others, base, strict=True)], "")

        found[str(px)] = {
            "half_grey_levels": amount([_grey(h, f) for h, f in zip(half, full, strict=True)], "grey levels"),
            "half_features": change(half),
            "unantialiased_features": change(usual),
        }
    found["features_are"] = "distance of Lite0's pooled features over the mean distance between two photographs"
    return found


def _grey(one: Any, other: Any) -> float:
    import numpy as np

    return float(np.abs(one.astype(int) - other).mean())
