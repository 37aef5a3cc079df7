"""From the pipelines of a document to compiled graphs that batons travel through."""

from __future__ import annotations

from piped.engine.blocks import Results, blame
from piped.engine.definition import DefinitionReader, PipelineDefinition
from piped.engine.graph import Graph, GraphBuilder, GraphNode
from piped.engine.journey import journey, new_journey
from piped.engine.pipeline import Pipeline, endless_calls, link, snapshot

__all__ = [
    "DefinitionReader",
    "Graph",
    "GraphBuilder",
    "GraphNode",
    "Pipeline",
    "PipelineDefinition",
    "Results",
    "blame",
    "endless_calls",
    "journey",
    "link",
    "new_journey",
    "snapshot",
]
