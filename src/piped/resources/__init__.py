"""Named resources, ready or lost, and the supervisor that keeps their providers alive."""

from __future__ import annotations

from piped.resources.resource import Resource
from piped.resources.supervisor import EssentialFailed, Life, Supervisor

__all__ = ["EssentialFailed", "Life", "Resource", "Supervisor"]
