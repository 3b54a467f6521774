"""A depth model of two layers and 20,000 random parameters: the real code, in the hub's layout."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.weights.random_weights import DEPTH_SMALL, random_depth
from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, DepthEstimator, load_depth
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import Depth
from tests.kernel_src.tiny import TINY_VIT

TINY_DEPTH = changed(TINY_VIT, {"name": "tiny-depth", "depth": Depth(weights="i2b-depth-anything")})
DEPTH_TINY: dict[str, Any] = DEPTH_SMALL | {
    "backbone_config": DEPTH_SMALL["backbone_config"]
    | {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 28,
        "out_indices": [1, 2],
        "out_features": ["stage1", "stage2"],
    },
    "reassemble_hidden_size": 16,
    "reassemble_factors": [2, 1],
    "neck_hidden_sizes": [4, 8],
    "fusion_hidden_size": 8,
    "head_hidden_size": 4,
}


def write_tiny_depth(folder: Path, seed: int = 0) -> Path:
    """Write config.json and model.safetensors as a dataset with Depth Anything has them; return the folder."""
    return random_depth(folder, DEPTH_TINY, seed)


@cache
def tiny_estimator(seed: int = 0) -> DepthEstimator:
    """The same model, loaded; shared by the tests, which must not change it."""
    with TemporaryDirectory() as folder:
        write_tiny_depth(Path(folder), seed)
        return load_depth(Path(folder) / DEPTH_WEIGHTS_FILE, Path(folder) / DEPTH_CONFIG_FILE)
