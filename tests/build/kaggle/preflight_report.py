"""What the preflight's notebook leaves where the live image is as the kit assumes it."""

from typing import Any

from build.core.image import IMPORTS, PYTHON

AS_ASSUMED: dict[str, Any] = {
    "format": 1,
    "time": "2026-11-24T10:00:00Z",
    "python": f"{PYTHON}.1",
    "versions": {name: {known.package: known.version or "1.0"} for name, known in IMPORTS.items()},
    "machine": {
        "gpus": [{"name": "Tesla T4", "capability": "sm_75", "memory_gb": 15.6}] * 2,
        "memory_gb": 31.4,
        "device": {"kind": "cuda", "fault": ""},
    },
    "mounts": {"layout": "new"},
    "environment": ["HOME", "KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_USER_SECRETS_TOKEN"],
}
