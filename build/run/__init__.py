"""The kernels on one's own machine, as the plain scripts that they are: `make train` and `make infer`."""
