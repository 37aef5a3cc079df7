"""WebSocket: sessions of messages, on routes of a site.

Only the declaration is imported with the site; the rest, and wsproto, by the first route of it.
"""

from __future__ import annotations

from piped.providers.web.websocket.route import WebSocketRoute

__all__ = ["WebSocketRoute"]
