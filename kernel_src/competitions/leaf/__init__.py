"""## Leaf

The class of a photograph, in the layout of Cassava Leaf Disease Classification.
"""
