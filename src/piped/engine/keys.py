"""The words that mean something in pipelines, and what is written instead of them by mistake."""

from __future__ import annotations

from collections.abc import Container
from difflib import get_close_matches
from typing import Final

from piped.document.nodes import Mapping, Node, Sequence
from piped.errors import Place, Problem
from piped.spec import STEP_KEYS

FLOW: Final = ("consumers", "chained_consumers", "error_consumers", "chained_error_consumers")
RESERVED: Final = STEP_KEYS | {"inline-pipeline", "__processor__"}
MAKES_A_PIPELINE: Final = ("chained_consumers", "consumers", "inherits")
PIPELINE_KEYS: Final = (*FLOW, "inherits", "overrides", "max_turns")

ALIKE: Final = 0.8


def is_pipeline(node: Node) -> bool:
    """Tell whether a node below ``pipelines`` is a pipeline, not a namespace of them."""
    if isinstance(node, Mapping):
        return any(key in node.entries for key in MAKES_A_PIPELINE)
    return isinstance(node, Sequence)


def wrong_name(key: object, place: Place, at: str) -> Problem | None:
    """Return why a key cannot be the name of a pipeline or of a namespace; None if it can."""
    if not all(str(key).split(".")):
        what = f"expected the name of a pipeline or of a namespace, got '{key}'"
        return Problem("wrong-value", what, place, at)
    if key in PIPELINE_KEYS:
        what = f"'{key}' is a key of pipelines and cannot be the name of one"
        hint = "a pipeline has a name, and 'chained_consumers', 'consumers' or 'inherits'"
        return Problem("not-a-pipeline", what, place, at, hint=hint)
    return None


def mistaken(node: Mapping, processors: Container[str], at: str) -> list[Problem]:
    """Return what is wrong with a namespace that is meant as a pipeline: all its keys say so."""
    keys = {str(key): entry for key, entry in node.items()}
    near = {key: get_close_matches(key, PIPELINE_KEYS, n=1, cutoff=ALIKE) for key in keys}
    if all(near.values()):
        return [
            Problem(
                "unknown-parameter",
                f"a pipeline has no key '{key}'",
                keys[key].key_place,
                f"{at}.{key}",
                hint=f"did you mean '{meant}'?",
            )
            for key, [meant] in near.items()
            if key != meant
        ]
    if all(key in processors and not is_pipeline(entry.node) for key, entry in keys.items()):
        name, entry = next(iter(keys.items()))
        what = f"expected a list of steps, got the step '{name}'"
        return [Problem("not-a-pipeline", what, entry.key_place, at, hint=f"write '- {name}: ...'")]
    return []
