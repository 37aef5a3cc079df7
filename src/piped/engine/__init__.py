"""From the pipelines of a document to compiled graphs that batons travel through."""

from __future__ import annotations

from piped.engine.cycles import groups
from piped.engine.definition import PipelineDefinition
from piped.engine.graph import GraphBuilder, Need
from piped.engine.journey import journey, new_journey
from piped.engine.nodes import Graph, GraphNode
from piped.engine.pipeline import Pipeline, endless_calls, link
from piped.engine.reading import DefinitionReader
from piped.engine.runners import Results, blame
from piped.engine.tracing import snapshot

__all__ = [
    "DefinitionReader",
    "Graph",
    "GraphBuilder",
    "GraphNode",
    "Need",
    "Pipeline",
    "PipelineDefinition",
    "Results",
    "blame",
    "endless_calls",
    "groups",
    "journey",
    "link",
    "new_journey",
    "snapshot",
]
