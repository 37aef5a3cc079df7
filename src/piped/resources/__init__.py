"""Named resources, ready or lost, and the supervisor that keeps their providers alive."""

from __future__ import annotations

from piped.resources.resource import Resource
from piped.resources.supervisor import EssentialFailed, Supervisor

__all__ = ["EssentialFailed", "Resource", "Supervisor"]
