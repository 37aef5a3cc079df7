"""Steps that note what they are given, what they return, and how long that takes."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from piped.batons import Baton
from piped.engine.nodes import GraphNode
from piped.spec import Step


def traced(node: GraphNode, step: Step, trace: list[dict[str, Any]]) -> Step:
    """Return a step that does the same, and adds what happened to a trace."""

    def begin(baton: Baton) -> dict[str, Any]:
        entry = {"processor": node.at, "place": str(node.place), "baton": snapshot(baton)}
        trace.append(entry | {"output": None, "time_spent": time.perf_counter(), "failure": None})
        return trace[-1]

    def end(entry: dict[str, Any], output: Any, failure: BaseException | None) -> None:
        entry["time_spent"] = time.perf_counter() - entry["time_spent"]
        entry["output"] = snapshot(output)
        entry["failure"] = f"{type(failure).__name__}: {failure}" if failure else None

    def traced_step(baton: Baton) -> Any:
        entry, output, failure = begin(baton), None, None
        try:
            output = step(baton)
            return output
        except BaseException as error:
            failure = error
            raise
        finally:
            end(entry, output, failure)

    async def traced_async_step(baton: Baton) -> Any:
        entry, output, failure = begin(baton), None, None
        try:
            output = await step(baton)
            return output
        except BaseException as error:
            failure = error
            raise
        finally:
            end(entry, output, failure)

    return traced_async_step if node.processor.is_async else traced_step


def snapshot(baton: Baton) -> Any:
    """Return a plain copy of a baton for people to look at; odd objects as their ``repr``."""
    try:
        return msgspec.to_builtins(baton, enc_hook=_shown, str_keys=True)
    except (RecursionError, TypeError, ValueError):
        return _shown(baton)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # a broken __repr__ costs its own text, not the run
        return f"<{type(value).__name__}: {type(error).__name__} in its repr>"
