"""## Runtime

Where the notebook runs: mounts, device, memory, files, faults, time.
"""
