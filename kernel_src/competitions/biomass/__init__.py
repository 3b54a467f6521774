"""## CSIRO Image2Biomass

Five dry-matter weights of a pasture from one photograph.
"""
