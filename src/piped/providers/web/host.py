"""What connections use of the site that they belong to."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Protocol

from piped.providers.web.admission import Admission
from piped.providers.web.dispatch import Dispatcher
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.proxies import Proxies

if TYPE_CHECKING:
    from piped.providers.web.access.log import AccessLog


class Host(Protocol):
    """What a connection belongs to."""

    counters: Counters
    dispatcher: Dispatcher
    limits: Limits
    date: bytes
    is_draining: bool
    context: contextvars.Context
    admission: Admission
    proxies: Proxies
    access: AccessLog | None

    def opened(self, connection: Any) -> None: ...

    def closed(self, connection: Any) -> None: ...

    def handed_over(self, connection: Any, heir: Any) -> None:
        """Be told that a connection goes on as another object."""
