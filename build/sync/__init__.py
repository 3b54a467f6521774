"""The way back: an edit made in any copy of a built notebook is written into its module, or is refused and kept.

- `cell_matching`, `cell_problems`: which cell of its build each edited cell was, and which cells no module can hold.
- `mapping`, `names`, `imports`, `parameters`: the edited cells as edited sources; imports follow the names.
- `proof`: the edited sources are stitched, and must give the edited notebook again.
- `merging`, `last_sync`: into the sources of today, also from a notebook that was synced before.
- `sync_back`: all of this, in memory; `sync_result`: what came of it.
- `watch`, `saved`, `lab`: when it is done.

`build/notebooks/` has what it starts from (`base`, `edited_cells`) and ends with (`writing`).
"""
