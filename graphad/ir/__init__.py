"""The graph: types, nodes, variables, text, verification."""
