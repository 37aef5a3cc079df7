"""What a route does for an application: it gives requests and WebSockets to it."""

from __future__ import annotations

from typing import Final

from piped.providers.web.asgi.application import Running
from piped.providers.web.asgi.conversation import Conversation
from piped.providers.web.asgi.exchange import Exchange
from piped.providers.web.dispatch import Dispatcher
from piped.providers.web.request import Request
from piped.providers.web.targets import Target
from piped.providers.web.websocket.endpoint import refuse
from piped.providers.web.websocket.limits import SocketLimits
from piped.providers.web.websocket.opening import NotOpened, check_opening
from piped.spec import Dependency

ANY_ORIGIN: Final = ("*",)
"""Which pages may open a WebSocket is for the application to say, as its servers leave it to it."""


class AsgiEndpoint:
    """Gives requests to an application, each with a body that it may read while it arrives."""

    __slots__ = ("_application", "_limits")

    def __init__(self, application: Dependency[Running], max_message: int) -> None:
        self._application = application
        self._limits = SocketLimits(
            message_bytes=max_message, queued=32, ping_s=20.0, pong_s=20.0, idle_s=None
        )

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        application = self._application.value
        if request.is_upgrade:
            self._converse(request, target, dispatcher, application)
            return
        exchange = Exchange(request)
        request.when_left(exchange.leave)
        dispatcher.start(request, target, exchange.run(application))

    def _converse(
        self, request: Request, target: Target, dispatcher: Dispatcher, application: Running
    ) -> None:
        try:
            check_opening(request, ANY_ORIGIN)
        except NotOpened as error:
            refuse(request, error, dispatcher)
            return
        conversation = Conversation(request, application, self._limits, dispatcher)
        request.when_left(conversation.leave)
        dispatcher.start(request, target, conversation.run())
