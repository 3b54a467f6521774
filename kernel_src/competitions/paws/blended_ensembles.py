"""## Blended ensembles

Ensembles that out-of-fold predictions spoke for: written by `python -m build blend … --write NAME`.
"""

from typing import Any

BLENDED: dict[str, dict[str, Any]] = {}
