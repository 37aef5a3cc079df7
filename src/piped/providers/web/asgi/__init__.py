"""ASGI applications on routes: a site is the server that they expect.

Only the declaration is imported with the site; the rest, and wsproto, by the first route of it.
"""

from __future__ import annotations

from piped.providers.web.asgi.route import Asgi

__all__ = ["Asgi"]
