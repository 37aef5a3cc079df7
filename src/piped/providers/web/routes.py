"""The routing tree of a site as it is declared: path segments, and what a path does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from piped.document.nodes import Entry, Node, plain
from piped.document.nodes import Mapping as MappingNode
from piped.errors import Level, Problem
from piped.providers.web.asgi import Asgi
from piped.providers.web.auth import Auth
from piped.providers.web.failures import ErrorAnswer, check_errors
from piped.providers.web.methods import check_methods, endpoint_of
from piped.providers.web.patterns import REST, Pattern, read_pattern
from piped.providers.web.redirects import Redirect
from piped.providers.web.static import Static
from piped.providers.web.targets import Endpoint, PipelineEndpoint
from piped.providers.web.websocket import WebSocketRoute
from piped.spec import INVALID, Decoder, Dependency, Duration, Meta, Size, part
from piped.spec.places import placed

CONFIG: Final = "__config__"

AT_THE_NODE: Final = ("processor", "redirect", "static", "websocket")
"""What treats requests for exactly a path."""

BELOW_THE_NODE: Final = ("no_resource_processor", "asgi")
"""What treats requests for all below a path, and for the path itself if nothing else does."""


@part
class RouteConfig:
    """What a path of a site does."""

    processor: Annotated[
        Dependency[Any] | None, Meta(description="The pipeline for exactly this path.")
    ] = None
    no_resource_processor: Annotated[
        Dependency[Any] | None,
        Meta(description="The pipeline for everything below that nothing deeper takes."),
    ] = None
    redirect: Annotated[
        str | Redirect | None, Meta(description="The place to which clients are sent instead.")
    ] = None
    static: Annotated[
        str | Static | None, Meta(description="A folder whose files are sent, or one file.")
    ] = None
    websocket: Annotated[
        WebSocketRoute | None, Meta(description="Sessions of messages in both directions.")
    ] = None
    asgi: Annotated[
        str | Asgi | None,
        Meta(description="An ASGI application, as module:name, for this path and all below it."),
    ] = None
    methods: Annotated[
        list[str] | dict[str, Dependency[Any]] | None,
        Meta(description="The methods that are taken here, or a pipeline for each; else 405."),
    ] = None
    errors: Annotated[
        dict[str, int | ErrorAnswer],
        Meta(description="Statuses of exceptions here and below, as in {ValueError: 400}."),
    ] = field(default_factory=dict)
    deadline: Annotated[
        Duration | None, Meta(description="How long an answer may take, here and below.")
    ] = None
    stream_deadline: Annotated[
        Duration | None,
        Meta(description="How long an answer in pieces may take after it began, here and below."),
    ] = None
    max_body: Annotated[
        Size | None, Meta(description="The largest body of a request here and below; else 413.")
    ] = None
    stream_body: Annotated[
        bool, Meta(description="Whether the pipeline begins while the body arrives.")
    ] = False
    auth: Annotated[
        Auth | None, Meta(description="Who may ask here and below; else 401 or 403.")
    ] = None

    def __post_init__(self) -> None:
        self.asgi = None if self.asgi is None else Asgi.of(self.asgi)

    @property
    def mounted(self) -> Asgi | None:
        """The application that is mounted here."""
        return self.asgi if isinstance(self.asgi, Asgi) else None

    def check(self) -> Iterable[Problem]:
        yield from check_errors(self.errors)
        own = [each for each in AT_THE_NODE if getattr(self, each) is not None]
        if isinstance(self.methods, dict):
            own.append("methods with pipelines")
        if len(own) > 1:
            names = " and ".join(f"'{name}'" for name in own)
            yield Problem("exactly-one", f"expected one thing that a path does, got {names}")
        below = [each for each in BELOW_THE_NODE if getattr(self, each) is not None]
        if self.mounted is not None and self.static is not None:
            below.append("static")
        if len(below) > 1:
            names = " and ".join(f"'{name}'" for name in below)
            yield Problem("exactly-one", f"expected one thing that takes all below, got {names}")
        if self.mounted is not None:
            yield from self.mounted.problems()
        if self.methods is not None:
            yield from check_methods(self.methods)
            if not own and not below:
                yield Problem("wrong-value", "methods: nothing here takes them", at="methods")

    def endpoint(self) -> Endpoint | None:
        """Return what treats requests for exactly this path."""
        if isinstance(self.methods, dict):
            return endpoint_of({k: PipelineEndpoint(each) for k, each in self.methods.items()})
        if self.redirect is not None:
            return self._of_methods(Redirect.of(self.redirect).endpoint())
        if self.static is not None:
            return self._of_methods(Static.of(self.static).endpoint())
        if self.websocket is not None:
            return self._of_methods(self.websocket.endpoint())
        return self._of_methods(_pipeline(self.processor))

    def endpoint_below(self) -> Endpoint | None:
        """Return what treats requests for what is below, and for the path itself if need be."""
        if self.static is not None and self.no_resource_processor is None:
            return self._of_methods(Static.of(self.static).endpoint())
        if self.mounted is not None:
            return self._of_methods(self.mounted.endpoint())
        return self._of_methods(_pipeline(self.no_resource_processor))

    def _of_methods(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None or not isinstance(self.methods, list):
            return endpoint
        return endpoint_of(dict.fromkeys(self.methods, endpoint))

    def pipelines(self) -> tuple[Dependency[Any], ...]:
        """Return the pipelines to which requests are given, and the application."""
        by_method = self.methods.values() if isinstance(self.methods, dict) else ()
        mounted = None if self.mounted is None else self.mounted.application
        given = (self.processor, self.no_resource_processor, mounted, *by_method)
        return tuple(each for each in given if each is not None)


def _pipeline(dependency: Dependency[Any] | None) -> Endpoint | None:
    return None if dependency is None else PipelineEndpoint(dependency)


@part
class Route:
    """A node of the routing tree: nested mappings are path segments, ``__config__`` says more.

    A segment such as ``{id}`` takes any text and is called by that name: ``{id:int}``,
    ``{id:float}`` and ``{id:uuid}`` take what is of that kind, ``{rest:path}`` all that remains.
    """

    children: dict[str, Route] = field(default_factory=dict, init=False)
    config: RouteConfig = field(default_factory=RouteConfig, init=False)

    def statics(self) -> Iterator[Static]:
        """Yield what is said of files, here and below."""
        if self.config.static is not None:
            yield Static.of(self.config.static)
        for child in self.children.values():
            yield from child.statics()

    def websockets(self) -> Iterator[WebSocketRoute]:
        """Yield what is said of sessions, here and below."""
        if self.config.websocket is not None:
            yield self.config.websocket
        for child in self.children.values():
            yield from child.websockets()

    def mounts(self) -> Iterator[Asgi]:
        """Yield the applications, here and below."""
        if self.config.mounted is not None:
            yield self.config.mounted
        for child in self.children.values():
            yield from child.mounts()

    @classmethod
    def __read__(cls, node: Node, decoder: Decoder, at: str) -> Any:
        """Return the tree that a mapping describes, or INVALID; its keys are the user's own."""
        return _Reader(decoder).route(node, at, ())


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a tree, and collects what is wrong with it."""

    decoder: Decoder

    def route(self, node: Node, at: str, params: tuple[str, ...]) -> Any:
        """Return the tree of a node, or INVALID.

        Args:
            node: The mapping of segments.
            at: Its path in the document.
            params: The names of the parameters on the way to it.
        """
        if not isinstance(node, MappingNode):
            what = f"expected a mapping of path segments, got {plain(node)!r}"
            return self._wrong(Problem("wrong-value", what, node.place, at))
        route, is_valid, kinds = Route(), True, dict[str, str]()
        for key, entry in node.items():
            below = f"{at}.{key}"
            if key == CONFIG:
                child = route.config = self._config(entry.node, below, params)
            else:
                child = self._child(key, entry, below, params, kinds)
                route.children[_segment(key)] = child
            is_valid = is_valid and child is not INVALID
        return route if is_valid else INVALID

    def _config(self, node: Node, at: str, params: tuple[str, ...]) -> Any:
        config = self.decoder.value(RouteConfig, node, at)
        if config is INVALID:
            return config
        if config.mounted is not None:
            config.mounted.application.at = at
        problems = [placed(each, node, at) for each in _problems_in(config, node, params)]
        self.decoder.problems += problems
        return INVALID if any(e.level is Level.ERROR for e in problems) else config

    def _child(
        self, key: Any, entry: Entry, at: str, params: tuple[str, ...], kinds: dict[str, str]
    ) -> Any:
        name = _segment(key)
        try:
            pattern = read_pattern(name)
            problem = _problem_of(key) or _problem_beside(name, pattern, params, kinds)
        except ValueError as error:
            pattern, problem = None, Problem("wrong-value", f"{error}")
        if problem is not None:
            return self._wrong(problem.located(entry.key_place, at))
        if pattern is None:
            return self.route(entry.node, at, params)
        if pattern.kind == REST:
            self._fail_if_deeper(entry, at)
        return self.route(entry.node, at, (*params, pattern.name))

    def _fail_if_deeper(self, entry: Entry, at: str) -> None:
        """Nothing is left of a path for what is below its rest."""
        if not isinstance(entry.node, MappingNode):
            return
        for key, below in entry.node.items():
            if key != CONFIG:
                what = f"nothing is left of a path for '{_segment(key)}', below its rest"
                self._wrong(Problem("wrong-value", what, below.key_place, f"{at}.{key}"))

    def _wrong(self, problem: Problem) -> Any:
        self.decoder.problems.append(problem)
        return INVALID


def _problems_in(config: RouteConfig, node: Node, params: tuple[str, ...]) -> Iterator[Problem]:
    """Yield what is wrong with a node that can be told only where it stands."""
    if config.redirect is not None:
        yield from Redirect.of(config.redirect).problems(params)
    if config.static is not None and isinstance(node, MappingNode):
        config.static = Static.of(config.static)
        yield from config.static.locate(node.entries["static"].node.place.file)
        if config.static.is_folder and config.no_resource_processor is not None:
            what = "expected one thing that takes what is below, got 'static' and"
            yield Problem("exactly-one", f"{what} 'no_resource_processor'", at="static")


def _segment(key: Any) -> str:
    if key is None:
        return ""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _problem_beside(
    name: str, pattern: Pattern | None, params: tuple[str, ...], kinds: dict[str, str]
) -> Problem | None:
    """Return what is wrong with a segment beside others, or below others."""
    if pattern is not None and pattern.name in params:
        return Problem("wrong-value", f"the path has a parameter '{pattern.name}' already")
    kind = name if pattern is None else f"{{:{pattern.kind}}}"
    other = kinds.setdefault(kind, name)
    if other is name:
        return None
    return Problem("ambiguous-route", f"'{name}' takes the same paths as '{other}'")


def _problem_of(key: Any) -> Problem | None:
    name = _segment(key)
    if name not in ("", ".", "..") and "/" not in name:
        return None
    parts = [each for each in name.split("/") if each]
    hint = f"nest them: {': {'.join(parts)}: ...{'}' * (len(parts) - 1)}" if parts[1:] else ""
    what = f"expected one segment of a path, got {'null' if key is None else repr(key)}"
    return Problem("wrong-value", what, hint=hint)
