"""The acts of `piped demo`, and what they are played with."""

from __future__ import annotations
