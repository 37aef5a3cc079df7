"""The routing tree of a site: path segments, and which pipeline a path belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import unquote

from piped.document.nodes import Mapping as MappingNode
from piped.document.nodes import Node, plain
from piped.errors import Problem
from piped.providers.web.failures import check_errors, statuses
from piped.spec import INVALID, Decoder, Dependency, Duration, Meta, part

CONFIG: Final = "__config__"


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
    errors: Annotated[
        dict[str, int],
        Meta(description="Statuses of exceptions here and below, as in {ValueError: 400}."),
    ] = field(default_factory=dict)
    deadline: Annotated[
        Duration | None, Meta(description="How long an answer may take, here and below.")
    ] = None

    def check(self) -> Iterable[Problem]:
        yield from check_errors(self.errors)


@part
class Route:
    """A node of the routing tree: nested mappings are path segments, ``__config__`` says more."""

    children: dict[str, Route] = field(default_factory=dict, init=False)
    config: RouteConfig = field(default_factory=RouteConfig, init=False)

    @classmethod
    def __read__(cls, node: Node, decoder: Decoder, at: str) -> Any:
        """Return the tree that a mapping describes, or INVALID; its keys are the user's own."""
        if not isinstance(node, MappingNode):
            what = f"expected a mapping of path segments, got {plain(node)!r}"
            decoder.problems.append(Problem("wrong-value", what, node.place, at))
            return INVALID
        route, is_valid = cls(), True
        for key, entry in node.items():
            below = f"{at}.{key}"
            child: Any
            if key == CONFIG:
                child = route.config = decoder.value(RouteConfig, entry.node, below)
            elif problem := _problem_of(key):
                decoder.problems.append(problem.located(entry.key_place, below))
                child = INVALID
            else:
                child = route.children[_segment(key)] = cls.__read__(entry.node, decoder, below)
            is_valid = is_valid and child is not INVALID
        return route if is_valid else INVALID


def _segment(key: Any) -> str:
    if key is None:
        return ""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _problem_of(key: Any) -> Problem | None:
    name = _segment(key)
    if name not in ("", ".", "..") and "/" not in name:
        return None
    parts = [each for each in name.split("/") if each]
    hint = f"nest them: {': {'.join(parts)}: ...{'}' * (len(parts) - 1)}" if parts[1:] else ""
    what = f"expected one segment of a path, got {'null' if key is None else repr(key)}"
    return Problem("wrong-value", what, hint=hint)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads: a pipeline, and the rules for its errors and its deadline."""

    pipeline: Dependency[Any]
    errors: Mapping[type[BaseException], int]
    deadline_s: float
    prepath: tuple[str, ...]


@dataclass(slots=True)
class Branch:
    """A compiled node of the tree."""

    children: dict[str, Branch]
    target: Target | None  # for the node itself
    rest: Target | None  # for what is below it


class Router:
    """Finds the target of a path."""

    __slots__ = ("_exact", "root")

    def __init__(self, route: Route, errors: Mapping[str, int], deadline_s: float) -> None:
        self._exact: dict[str, Target] = {}
        self.root = self._compile(route, statuses(errors), deadline_s, ())

    def _compile(
        self,
        route: Route,
        errors: Mapping[type[BaseException], int],
        deadline_s: float,
        prepath: tuple[str, ...],
    ) -> Branch:
        config = route.config
        errors = {**errors, **statuses(config.errors)}
        deadline_s = deadline_s if config.deadline is None else config.deadline
        target, rest = (
            None if each is None else Target(each, errors, deadline_s, prepath)
            for each in (config.processor, config.no_resource_processor)
        )
        if target is not None and not any("%" in each for each in prepath):
            path = "/" + "/".join(prepath)
            self._exact[path] = self._exact[path.rstrip("/") + "/"] = target
        children = {
            name: self._compile(child, errors, deadline_s, (*prepath, name))
            for name, child in route.children.items()
        }
        return Branch(children, target, rest)

    def deadlines(self) -> Iterable[float]:
        """Yield the deadline of each target."""
        branches = [self.root]
        while branches:
            branch = branches.pop()
            yield from (each.deadline_s for each in (branch.target, branch.rest) if each)
            branches += branch.children.values()

    def find(self, path: str) -> tuple[Target | None, list[str]]:
        """Return the target of a path as it was sent, and the segments beyond its node."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact, []
        if not path.startswith("/"):
            return None, []
        segments = [unquote(each) for each in path[1:].split("/")]
        if segments[-1] == "":
            segments.pop()
        if any("/" in each or "\0" in each or each in (".", "..") for each in segments):
            return None, []
        return self._walk(segments)

    def _walk(self, segments: list[str]) -> tuple[Target | None, list[str]]:
        branch, rest, depth = self.root, self.root.rest, 0
        for index, segment in enumerate(segments):
            below = branch.children.get(segment)
            if below is None:
                break
            branch = below
            if branch.rest is not None:
                rest, depth = branch.rest, index + 1
        else:
            if branch.target is not None:
                return branch.target, []
        return rest, segments[depth:] if rest is not None else []
