"""The view into a running service: logs, metrics and traces."""

from __future__ import annotations
