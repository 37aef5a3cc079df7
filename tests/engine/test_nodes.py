"""Graphs: processors that know their consumers."""

from __future__ import annotations

from piped.engine.nodes import reachable
from tests.engine.conftest import Build


def test_a_node_says_where_it_was_written(build: Build) -> None:
    [node] = build("ns: {p: [{note: {name: a}}]}")["ns.p"].graph.nodes()

    assert str(node) == "pipelines.ns.p[0].note (test.yaml:1:11)"


def test_nodes_behind_errors_may_be_left_out(build: Build) -> None:
    sources = build("p: [{note: {name: a}, error_consumers: [stop]}]")["p"].graph.sources

    assert [node.name for node in reachable(sources)] == ["note", "stop"]
    assert [node.name for node in reachable(sources, errors=False)] == ["note"]
