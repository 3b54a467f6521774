"""The way back: an edit made in any copy of a built notebook is written into its module, or is refused and kept.

- `cell_matching`: which cell of its build each edited cell was.
- `source_names`: cells in which the build renamed what clashed, under the names of the sources.
- `mapping`, `names`, `imports`, `parameters`: the edited cells as edited sources; imports follow the names.
- `proof`: the edited sources are stitched, and must give the edited notebook again.
- `merging`: into the sources of today.
- `sync_back`: all of this, in memory; `sync_result`: what came of it.
- `file_sync`: another way, of notebooks that hold their sources as files.
- `watch`, `lab`: when it is done.

`build/notebooks/` has what it starts from (`base`, `edited_cells`, `synced`) and ends with (`writing`).
"""
