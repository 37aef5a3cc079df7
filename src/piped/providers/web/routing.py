"""The routing tree of a site as it is used: from a path to its target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from piped.providers.web.auth import Auth, Guard, GuardedEndpoint
from piped.providers.web.failures import ErrorAnswer, answers
from piped.providers.web.passwords import Verifier
from piped.providers.web.patterns import KINDS, RANK, REST, NoMatch, Pattern, read_pattern
from piped.providers.web.routes import Route, RouteConfig
from piped.providers.web.tallies import MAX_ROUTES, OTHERS, RouteTally
from piped.providers.web.targets import Endpoint, Match, Rules, Target


@dataclass(slots=True)
class Branch:
    """A compiled node of the tree."""

    children: dict[str, Branch]
    patterns: list[tuple[Pattern, Branch]]  # in the order in which they are tried
    target: Target | None  # for the node itself
    rest: Target | None  # for what is below it


class Router:
    """Finds the target of a path.

    ``exact`` has those of paths without parameters, as they are mostly sent, each with the segments
    that lead there; all others, and those too, are found by ``find``.
    ``tallies`` has what is counted of each route, by its path in the document; those of ``before``
    go on.
    """

    __slots__ = (
        *("_before", "_has_ends", "_has_sizes", "_has_streams", "_verifier"),
        *("exact", "root", "tallies"),
    )

    def __init__(
        self,
        route: Route,
        errors: Mapping[str, int | ErrorAnswer],
        deadline_s: float,
        auth: Auth | None = None,
        before: Mapping[str, RouteTally] | None = None,
        stream_deadline_s: float = math.inf,
    ) -> None:
        self.tallies: dict[str, RouteTally] = {}
        self._before = before or {}
        self.exact: dict[bytes, tuple[Target, tuple[str, ...]]] = {}
        self._verifier = Verifier()  # one for all nodes, so that its bounds are those of the site
        own = auth and auth.below(None)
        rules = Rules(deadline_s, None, answers(errors), own, stream_deadline_s)
        self.root = self._compile(route, rules, ())
        targets = [*self.targets()]
        self._has_sizes = any(each.rules.max_body is not None for each in targets)
        self._has_streams = any(each.stream_body for each in targets)
        self._has_ends = any(each.rules.stream_deadline_s < math.inf for each in targets)

    def _compile(self, route: Route, rules: Rules, prepath: tuple[str, ...]) -> Branch:
        config = route.config
        rules = _below(rules, config)
        guard = None if rules.auth is None else Guard(rules.auth, self._verifier)

        def target_of(endpoint: Endpoint | None, *below: str) -> Target | None:
            if endpoint is None:
                return None
            guarded = endpoint if guard is None else GuardedEndpoint(guard, endpoint)
            tally = self._tally_of("/" + "/".join((*prepath, *below)))
            streams = config.stream_body or bool(below and config.mounted)
            return Target(guarded, rules, config.pipelines(), streams, tally)

        target, rest = target_of(config.endpoint()), target_of(config.endpoint_below(), "*")
        if target is not None and not any("%" in each or "{" in each for each in prepath):
            path = "/".join(("", *prepath)).encode()
            self.exact[path or b"/"] = self.exact[path + b"/"] = target, prepath
        children, patterns = {}, []
        for name, child in route.children.items():
            branch = self._compile(child, rules, (*prepath, name))
            if pattern := read_pattern(name):
                patterns.append((pattern, branch))
            else:
                children[name] = branch
        patterns.sort(key=lambda each: RANK[each[0].kind])
        return Branch(children, patterns, target, rest)

    def _tally_of(self, path: str) -> RouteTally:
        if path not in self.tallies and len(self.tallies) >= MAX_ROUTES:
            path = OTHERS
        return self.tallies.setdefault(path, self._before.get(path) or RouteTally(path))

    def targets(self) -> Iterator[Target]:
        """Yield every target of the tree."""
        branches = [self.root]
        while branches:
            branch = branches.pop()
            yield from (each for each in (branch.target, branch.rest) if each)
            branches += branch.children.values()
            branches += (each for _, each in branch.patterns)

    def deadlines(self) -> Iterator[float]:
        """Yield the deadlines of each target."""
        for each in self.targets():
            yield each.deadline_s
            yield each.rules.stream_deadline_s

    def max_body_of(self, uri: bytes, usual: int) -> int:
        """Return how large the body of a request may be: as usual, if its route says no more."""
        target = self._target_of(uri) if self._has_sizes else None
        size = None if target is None else target.rules.max_body
        return usual if size is None else size

    def streams_body_of(self, uri: bytes) -> bool:
        """Tell whether a request is treated while its body arrives."""
        target = self._target_of(uri) if self._has_streams else None
        return target is not None and target.stream_body

    def stream_deadline_of(self, uri: bytes) -> float:
        """Return how many seconds an answer in pieces may take after it began."""
        target = self._target_of(uri) if self._has_ends else None
        return math.inf if target is None else target.rules.stream_deadline_s

    def _target_of(self, uri: bytes) -> Target | None:
        path = uri.partition(b"?")[0]
        if path in self.exact:
            return self.exact[path][0]
        match = self.find(path.decode("latin-1"))
        return None if match is None else match.target

    def find(self, path: str) -> Match | None:
        """Return what a path leads to that is as it was sent."""
        if not path.startswith("/"):
            return None
        segments = [unquote(each) for each in path[1:].split("/")]
        if segments[-1] == "":
            segments.pop()
        if any("/" in each or "\0" in each or each in (".", "..") for each in segments):
            return None
        return _walk(self.root, segments, 0, {})


def _below(rules: Rules, config: RouteConfig) -> Rules:
    """Return the rules of a node below another."""
    return Rules(
        rules.deadline_s if config.deadline is None else config.deadline,
        rules.max_body if config.max_body is None else config.max_body,
        {**rules.errors, **answers(config.errors)},
        rules.auth if config.auth is None else config.auth.below(rules.auth),
        rules.stream_deadline_s if config.stream_deadline is None else config.stream_deadline,
    )


def _walk(branch: Branch, segments: list[str], depth: int, params: dict[str, Any]) -> Match | None:
    """Return what the segments from a depth on lead to: texts first, then patterns, then the rest.

    No branch is visited twice, so a path costs no more than the tree has nodes.
    """
    if depth == len(segments):
        if branch.target is not None:
            return Match(branch.target, segments, [], params)
    else:
        child = branch.children.get(segments[depth])
        found = None if child is None else _walk(child, segments, depth + 1, params)
        for pattern, below in () if found else branch.patterns:
            found = _walk_pattern(pattern, below, segments, depth, params)
            if found is not None:
                break
        if found is not None:
            return found
    if branch.rest is None:
        return None
    return Match(branch.rest, segments[:depth], segments[depth:], params)


def _walk_pattern(
    pattern: Pattern, branch: Branch, segments: list[str], depth: int, params: dict[str, Any]
) -> Match | None:
    if pattern.kind == REST:
        remaining = segments[depth:]
        target = branch.target or branch.rest
        if target is None or not all(remaining):
            return None
        params = {**params, pattern.name: "/".join(remaining)}
        return Match(target, segments[:depth], remaining, params)
    try:
        value = KINDS[pattern.kind](segments[depth])
    except NoMatch:
        return None
    return _walk(branch, segments, depth + 1, {**params, pattern.name: value})
