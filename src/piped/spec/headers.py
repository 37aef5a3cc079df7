"""What parameters may say of header fields of HTTP."""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token, by RFC 9110: the name of a header, or a method."""

LINE: Final = re.compile(r"[\t\x20-\x7e]*")
"""The value of a header in a request: one line of ASCII."""

CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""A sign that the value of a header in an answer must not have."""

OF_THE_SITE: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade"}
)
"""What a site says itself of its connection and of the answer; no document may."""

OF_THE_CLIENT: Final = frozenset(
    {
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""What a client says itself of its connection and of the body; no document may."""
