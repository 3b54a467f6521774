"""## Paws

A number for each photograph, in the layout of PetFinder.my Pawpularity Contest.
"""
