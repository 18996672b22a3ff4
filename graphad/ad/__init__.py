"""Derivatives: graph to graph."""
