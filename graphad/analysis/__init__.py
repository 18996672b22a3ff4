"""What is known about a graph: costs, index checks."""
