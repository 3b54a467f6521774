"""The way back: an edit made in any copy of a built notebook comes home to its module, or is refused and kept.

- `base`: the build that a notebook came from: its sources, from out/builds/ or from git's history.
- `cells`, `matching`: what editors left of the cells, and which cell of the base each one was.
- `mapping`, `names`, `imports`: the edited cells as edited sources; imports follow the names.
- `merging`, `writing`: three ways into the sources of today, all files or none.
- `home`: the whole way; `proof`: the edited sources are built, and must give the edited notebook again.
"""
