"""Nodes that wait: what a tag stands for until it is its turn to be looked up.

They are scalars, so merging replaces them whole; none of them is left in a loaded document.
"""

from __future__ import annotations

from dataclasses import dataclass

from piped.document.nodes import Mapping, Scalar


@dataclass(slots=True)
class Alias(Scalar):
    """``!alias``: another node of the merged document; its ``value`` is the dotted path there.

    ``defaults`` are the keys that the target may lack.
    """

    defaults: Mapping | None = None


@dataclass(slots=True)
class Outside(Scalar):
    """A value from outside the document; its ``value`` is the name or path written there.

    ``options`` may hold one key, ``default``: the node to use where there is no such value.
    """

    tag: str = ""
    options: Mapping | None = None
