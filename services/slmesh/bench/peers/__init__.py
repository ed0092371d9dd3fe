"""Other model servers of PyPI, started with the same model, to measure the mesh beside them."""
