"""The access log of a site: a line for each request.

Only the declaration is imported with the site; the rest by the first site that writes one.
"""

from __future__ import annotations

from piped.providers.web.access.setting import AccessFormat, AccessLogging

__all__ = ["AccessFormat", "AccessLogging"]
