"""`make check`: refuses stale, networked, oversized or mis-described notebooks.

cells → parse; names, values → what an expression means; offline, imports, mounts, credentials → one rule book each;
command → all of them over all notebooks. Static rules guard against mistakes, not against malice: the rehearsal with
the network really cut is the second layer, `enable_internet: false` on Kaggle the third.
"""

from build.notebooks.check.command import run

__all__ = ["run"]
