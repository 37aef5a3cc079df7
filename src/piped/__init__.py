"""Piped: an application server that you configure.

A YAML document wires providers (HTTP sites, ZeroMQ queues, timers, contexts) to pipelines of small
processors. These are the names that bundles import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from piped.app import Service
    from piped.batons import MISSING, Baton, BatonPath
    from piped.errors import BatonError, ConfigError, Misconfigured, PipedError, Unavailable
    from piped.spec import (
        DecidingProcessor,
        Dependency,
        Duration,
        ErrorTypes,
        Input,
        InputOutputProcessor,
        Lambda,
        Meta,
        PipelineName,
        Processor,
        Provider,
        Size,
        part,
        processor,
        provider,
    )

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # writing components
    "processor",
    "provider",
    "part",
    "Processor",
    "InputOutputProcessor",
    "DecidingProcessor",
    "Provider",
    # their parameters
    "Meta",
    "BatonPath",
    "Size",
    "Duration",
    "Lambda",
    "ErrorTypes",
    "Dependency",
    "PipelineName",
    "Input",
    # batons
    "Baton",
    "MISSING",
    # running
    "Service",
    # errors
    "PipedError",
    "ConfigError",
    "BatonError",
    "Unavailable",
    "Misconfigured",
]

_ROOMS: Final = {
    "Service": "piped.app",
    **dict.fromkeys(("MISSING", "Baton", "BatonPath"), "piped.batons"),
    **dict.fromkeys(
        ("BatonError", "ConfigError", "Misconfigured", "PipedError", "Unavailable"), "piped.errors"
    ),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `piped --help` imports nothing."""
    if name in __all__:
        return getattr(import_module(_ROOMS.get(name, "piped.spec")), name)
    if name in ("processing", "util", "conf", "resource", "event", "log"):
        raise ImportError(
            f"'piped.{name}' is of Piped 0.x and is gone; see docs/differences.md", name="piped"
        )
    raise AttributeError(f"module 'piped' has no attribute '{name}'")
