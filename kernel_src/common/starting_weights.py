"""## Starting weights

A pretrained backbone comes as one safetensors file in a dataset, under the name that timm and the hub give it.
"""

STARTING_WEIGHTS_FILE = "model.safetensors"
