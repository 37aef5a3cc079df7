"""Who may use a route: by a token, by a name and a password, by the address.

Addresses are looked at first (403), then credentials (401): a token or a password suffices where
both are asked for. What is refused reaches no endpoint.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from piped.errors import Problem
from piped.providers.web.failures import NotTaken
from piped.providers.web.passwords import LONGEST, Hash, Verifier, read_hash
from piped.providers.web.proxies import Network, address_of
from piped.spec import Meta, part

if TYPE_CHECKING:
    from piped.providers.web.dispatch import Dispatcher
    from piped.providers.web.request import Request
    from piped.providers.web.targets import Endpoint, Target

LOCALHOST: Final = ("127.0.0.0/8", "::1")

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_CHALLENGES: Final = {
    "basic": 'Basic realm="site", charset="UTF-8"',
    "bearer": 'Bearer realm="site"',
}


class Forbidden(NotTaken):
    """Raised when a client asks from an address that is not allowed."""

    http_status: ClassVar[int] = 403


class Unauthorized(NotTaken):
    """Raised when a client has not said who it is, or nobody knows it."""

    http_status: ClassVar[int] = 401

    def __init__(self, message: str, challenges: tuple[str, ...]) -> None:
        # RFC 9110, 11.6.1: what would be taken, one field for each.
        super().__init__(message, [("www-authenticate", each) for each in challenges])


@part
class Auth:
    """Who may use a route and what is below it; deeper nodes may say otherwise."""

    bearer: Annotated[
        str | list[str] | dict[str, str] | None,
        Meta(description="A token, a list of them, or names and their tokens; any will do."),
    ] = None
    basic: Annotated[
        dict[str, str] | None,
        Meta(description="Names of users, and their passwords by 'piped hash-password'."),
    ] = None
    ip_allow: Annotated[
        list[str] | None,
        Meta(description="Addresses or networks of clients, as in 10.0.0.0/8, or localhost."),
    ] = None
    public: Annotated[
        bool, Meta(description="Whether everybody may, whatever the nodes above say.")
    ] = False

    def check(self) -> Iterator[Problem]:
        ways = {"bearer": self.bearer, "basic": self.basic, "ip_allow": self.ip_allow}
        given = {name: each for name, each in ways.items() if each is not None}
        if self.public and given:
            yield Problem("wrong-value", "expected nothing beside 'public: true'")
        elif not self.public and not given:
            yield Problem(
                "wrong-value", "expected one of 'basic', 'bearer', 'ip_allow' and 'public'"
            )
        for name, each in given.items():
            if not each:
                yield Problem("wrong-value", f"expected at least one, got {each!r}", at=name)
        for at, _, token in self.tokens():
            if not _TOKEN.fullmatch(token):  # which is not shown
                what = "expected a token of letters, digits and -._~+/= (RFC 6750), got other signs"
                yield Problem("wrong-value", what, at=at)
        for user, text in (self.basic or {}).items():
            at = f"basic.{user}"
            if not user or ":" in user:
                yield Problem("wrong-value", f"expected a name without ':', got {user!r}", at=at)
            try:
                read_hash(text)
            except ValueError as error:
                hint = "make one by 'piped hash-password'"
                yield Problem("wrong-value", f"{error}", at=at, hint=hint)
        for index, text in enumerate(self.ip_allow or []):
            try:
                _networks(text)
            except ValueError as error:
                at = f"ip_allow[{index}]"
                yield Problem("wrong-value", f"expected an address or a network: {error}", at=at)

    def tokens(self) -> list[tuple[str, str, str]]:
        """Return where each token stands, the name of who has it, and the token."""
        bearer = self.bearer or []
        if isinstance(bearer, str):
            return [("bearer", "", bearer)]
        if isinstance(bearer, list):
            return [(f"bearer[{index}]", "", each) for index, each in enumerate(bearer)]
        return [(f"bearer.{name}", name, each) for name, each in bearer.items()]

    def below(self, above: Auth | None) -> Auth | None:
        """Return what holds at a node below another: credentials and addresses, each on its own."""
        if self.public:
            return None
        own = self.bearer is not None or self.basic is not None
        whose = self if own or above is None else above
        addresses = self.ip_allow if self.ip_allow is not None or above is None else above.ip_allow
        return Auth(bearer=whose.bearer, basic=whose.basic, ip_allow=addresses)


def _networks(text: str) -> list[Network]:
    return [ip_network(each) for each in (LOCALHOST if text == "localhost" else (text,))]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Guard:
    """Lets requests pass, or raises what they are answered with."""

    __slots__ = ("_challenges", "_hashes", "_networks", "_tokens", "_verifier")

    def __init__(self, auth: Auth, verifier: Verifier) -> None:
        self._networks = [each for text in auth.ip_allow or () for each in _networks(text)]
        self._tokens = [(_digest(token), name) for _, name, token in auth.tokens()]
        self._hashes = {user: read_hash(text) for user, text in (auth.basic or {}).items()}
        self._verifier = verifier
        asked = {"basic": self._hashes, "bearer": self._tokens}
        self._challenges = tuple(_CHALLENGES[name] for name, each in asked.items() if each)

    def admit(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Return if a request may pass; else raise, or return what will, after it was awaited.

        Raises:
            Forbidden: The client's address is not allowed.
            Unauthorized: The client has no credentials, or wrong ones.
        """
        if self._networks and not self._has_place_for(request.client_ip):
            raise Forbidden(f"clients at {request.client_ip or 'no address'!r} are not allowed")
        if not self._challenges:
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        match scheme.lower():
            case "bearer" if self._tokens:
                self._admit_token(request, given.strip(" "))
                return None
            case "basic" if self._hashes:
                return self._admit_user(request, given.strip(" "))
            case "":
                raise Unauthorized("no credentials", self._challenges)
        raise Unauthorized("credentials of a kind that is not asked for", self._challenges)

    def _has_place_for(self, client: str) -> bool:
        address = address_of(client)  # a client of a unix socket has none
        return address is not None and any(address in each for each in self._networks)

    def _admit_token(self, request: Request, token: str) -> None:
        given = _digest(token)
        names = [name for known, name in self._tokens if hmac.compare_digest(known, given)]
        if not names:
            error = 'error="invalid_token"'  # RFC 6750, 3.1
            challenges = [
                f"{each}, {error}" if each.startswith("Bearer") else each
                for each in self._challenges
            ]
            raise Unauthorized("wrong token", (*challenges,))
        request.user = names[0]

    def _admit_user(self, request: Request, given: str) -> Coroutine[Any, Any, None] | None:
        try:
            text = b64decode(given, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthorized("malformed credentials", self._challenges) from None
        user, colon, password = text.partition(":")
        if not colon or len(password) > LONGEST:
            raise Unauthorized("malformed credentials", self._challenges)
        # An unknown user costs as much as a wrong password, and so cannot be told from one.
        wanted = self._hashes.get(user) or next(iter(self._hashes.values())).decoy()
        if not self._verifier.knows(wanted, password):
            return self._verify(request, user, wanted, password)
        request.user = user
        return None

    async def _verify(self, request: Request, user: str, wanted: Hash, password: str) -> None:
        if not await self._verifier.verify(wanted, password):
            raise Unauthorized("wrong user or password", self._challenges)
        request.user = user


@dataclass(frozen=True, slots=True)
class GuardedEndpoint:
    """Gives to another endpoint what the guard lets pass."""

    guard: Guard
    endpoint: Endpoint

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        doubt = self.guard.admit(request)
        if doubt is None:
            self.endpoint.handle(request, target, dispatcher)
        else:
            dispatcher.spawn(self._decide(doubt, request, target, dispatcher))

    async def _decide(
        self,
        doubt: Coroutine[Any, Any, None],
        request: Request,
        target: Target,
        dispatcher: Dispatcher,
    ) -> None:
        """Wait until it is known, and go on, if somebody still waits.

        This is no task of the request: what the endpoint begins is.
        """
        try:
            await doubt
            if not request.is_finished:
                self.endpoint.handle(request, target, dispatcher)
        except Exception as error:
            dispatcher.fail(request, target, error)
