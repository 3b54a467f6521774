"""`make check`: refuses stale, networked, oversized or mis-described notebooks.

checked_cells → parse; offline, dependencies, credentials → a set of rules each; command → all of them over all
notebooks. The rules find in a second what is written out. The rehearsal, with the network really cut, is the second
layer, `enable_internet: false` on Kaggle the third.
"""
