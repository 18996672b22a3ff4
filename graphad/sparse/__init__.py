"""Functions whose results are sparse matrices."""
