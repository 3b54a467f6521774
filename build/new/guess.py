"""A guess: what it is, why, and what to write instead where it is wrong."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One thing that the files suggest and do not say."""

    name: str  # the attribute of the package that holds it, such as id_column
    value: Any
    why: str  # what in the files speaks for it
    otherwise: str = ""  # what to write there instead, or which option says it
    is_doubtful: bool = False  # nothing in the files decides it: somebody has to look

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`."""
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        # JSON has no infinity.
        plain = [str(one) if isinstance(one, float) and not math.isfinite(one) else one for one in values]
        value = plain if isinstance(self.value, tuple) else plain[0]
        return {"name": self.name, "value": value, "why": self.why, "otherwise": self.otherwise} | {
            "is_doubtful": self.is_doubtful
        }
