"""Every line that runs on your machine: `python -m build --help` lists the verbs."""
