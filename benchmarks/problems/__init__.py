"""The problems, one module for each family."""
