"""## Tuned experiments

What a search found, as changes to an experiment of the list: written by `python -m build tune … --adopt NAME`.
"""

from typing import Any

TUNED: dict[str, dict[str, Any]] = {}
