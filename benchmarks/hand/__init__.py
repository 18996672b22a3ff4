"""Hand-written derivatives: what a patient person would write with Numba, NumPy and BLAS for one problem alone."""
