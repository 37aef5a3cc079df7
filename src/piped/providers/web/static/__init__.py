"""Files and folders as routes.

Starlette's ``FileResponse`` opens a path again after it was checked, answers 416 where some of the
ranges can be met and 400 to ranges that RFC 9110 has us ignore, and would need ASGI in between. So
lookup, conditions and ranges are ours, and pure functions; sending is the house's.
"""

from piped.providers.web.static.route import Static

__all__ = ["Static"]
