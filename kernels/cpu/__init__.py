"""NumPy kernels."""
