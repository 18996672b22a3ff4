"""Graphs as networkx DAGs, and back."""

from __future__ import annotations

import networkx as nx  # takes 0.1 s, so this module is imported when first needed

from graphad.errors import GraphError, describe
from graphad.ir.graph import Graph, Node


def to_dag(graph: Graph) -> nx.DiGraph[int]:
    """The DAG of `Graph.dag`."""
    dag: nx.DiGraph[int] = nx.DiGraph(name=graph.name)
    dag.add_nodes_from((i, {"node": node}) for i, node in enumerate(graph.nodes))
    for node_id, node in enumerate(graph.nodes):
        for position, arg in enumerate(node.args):
            if dag.has_edge(arg, node_id):
                dag.edges[arg, node_id]["positions"] += (position,)
            else:
                dag.add_edge(arg, node_id, positions=(position,))
    dag.graph.update(
        inputs=dict(graph.inputs),
        outputs=dict(graph.outputs),
        hints=dict(graph.hints),
        requirements=list(graph.requirements),
    )
    nx.freeze(dag)
    return dag


def from_dag(dag: nx.DiGraph[int]) -> Graph:
    """The graph of `Graph.from_dag`."""
    graph = Graph(dag.graph.get("name", "graph"))
    try:
        order = list(nx.lexicographical_topological_sort(dag))
    except nx.NetworkXUnfeasible as error:
        raise GraphError(describe("the networkx graph has a cycle", expected="a DAG")) from error
    new_id: dict[int, int] = {}
    for old in order:
        node = dag.nodes[old].get("node")
        if not isinstance(node, Node):
            raise GraphError(describe(f"node {old} of the networkx graph has no attribute `node`"))
        args: list[int | None] = [None] * len(node.args)
        for source in dag.predecessors(old):
            for position in dag.edges[source, old]["positions"]:
                args[position] = new_id[source]
        if None in args:
            raise GraphError(describe(f"an operand of node {old} is missing from the networkx graph"))
        new_id[old] = graph._append(node._replace(args=tuple(a for a in args if a is not None)))
    graph.inputs = {name: new_id[i] for name, i in dag.graph["inputs"].items()}
    graph.outputs = {name: new_id[i] for name, i in dag.graph["outputs"].items()}
    graph.hints = dict(dag.graph["hints"])
    graph.requirements = list(dag.graph["requirements"])
    graph._index_constants()
    return graph
