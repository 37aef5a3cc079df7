"""Python in the document: lambdas and blocks of code as steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from dataclasses import field
from functools import partial
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from piped.batons import MISSING, Baton, fresh, getter, setter
from piped.errors import Problem
from piped.processors._threads import BLOCKING, check_blocking, in_thread
from piped.spec import (
    SAME_AS_INPUT,
    Code,
    Dependencies,
    Dependency,
    InputOutputProcessor,
    Lambda,
    Meta,
    Namespace,
    Step,
    processor,
    undeclared,
)

Function: TypeAlias = Callable[[Any], Any]

PLAIN: Final = frozenset({int, str, list, dict, float, bool, tuple, bytes, set, type(None)})
"""Types that cannot be awaited, to tell so at once of nearly every result."""

NAMESPACE: Final = Meta(description="Names for the code: {time: time.time} is the function.")
DEPENDENCIES: Final = Meta(
    description="Resources for the code: {queue: zmq.queue.jobs} is self.dependencies.queue."
)


@processor("eval-lambda")
class EvalLambda(InputOutputProcessor):
    """Evaluate a lambda of the input.

    Takes any value, gives what the lambda returns. The lambda sees builtins, its ``namespace``,
    ``self`` (the processor, with ``self.dependencies``) and ``logger``.

    With ``blocking: true`` it is called in one of the ``threads``, and all else goes on meanwhile:
    for what keeps Python busy, or waits without ``await``. A thread cannot be stopped: a step that
    is cancelled leaves it running to its end.

    Example:
        eval-lambda:
          input_path: word
          output_path: key
          blocking: true
          namespace: {scrypt: hashlib.scrypt}
          lambda: "word: scrypt(word.encode(), salt=b'pepper', n=1024, r=8, p=1).hex()[:8]"
        in:  {word: secret}
        out: {word: secret, key: 627fd66e}

    Raises:
        UndeclaredAwait: The lambda returned an awaitable without ``await: true``.
        QueueFull: All threads are busy, and as many steps wait for one as may.
    """

    answers: ClassVar[bool] = True  # the code may

    lambda_: Annotated[
        Lambda, Meta(description="A lambda without its keyword, such as 'n: n * 2'.")
    ]
    namespace: Annotated[Namespace, NAMESPACE] = field(default_factory=Namespace)
    dependencies: Annotated[Dependencies, DEPENDENCIES] = field(default_factory=Dependencies)
    await_: Annotated[bool, Meta(description="Wait for the result where it is awaitable.")] = False
    blocking: Annotated[bool, BLOCKING] = False
    _threads: Dependency[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._threads = Dependency("threads") if self.blocking else None

    @property
    def is_async(self) -> bool:
        return self.await_ or self.blocking

    def check(self) -> Iterable[Problem]:
        yield from self.lambda_.check(self.namespace)
        if self.blocking:
            yield from check_blocking(self.await_, "leave out 'await'", self.dependencies)

    def call(self) -> Callable[[Any, Baton], Any]:
        function = self.lambda_.compile(self.namespace, self)
        if self._threads is not None:
            run = in_thread(function, self._threads)
            return lambda value, _baton: run(value)
        if not self.await_:
            return lambda value, _baton: function(value)

        async def call(value: Any, _baton: Baton) -> Any:
            result = function(value)
            return await result if hasattr(result, "__await__") else result

        return call

    def step(self) -> Step:
        source = self.input_path
        target = source if self.output_path is SAME_AS_INPUT else self.output_path
        if self.is_async or "." in source or "." in (target or ""):
            return super().step()
        function = self.lambda_.compile(self.namespace, self)
        if source == "":
            return _of_the_baton(function, target)
        if target:
            return _of_a_key(function, source, target, self._instead())
        return super().step()

    def _instead(self) -> Callable[[Baton], Any]:
        """Return what fetches an input that is no plain item; MISSING where it is to be skipped."""
        get = getter(self.input_path)
        if self.skip_if_nonexistent:
            return get
        fallback = fresh(self.input_fallback)

        def instead(baton: Baton) -> Any:
            value = get(baton)
            return fallback() if value is MISSING else value

        return instead


@processor("map")
class Map(EvalLambda):
    """Make another value of the input, by a lambda; eval-lambda is its old name.

    Takes any value, gives what the lambda returns. The lambda sees builtins, its ``namespace``,
    ``self`` (the processor, with ``self.dependencies``) and ``logger``.

    With ``blocking: true`` it is called in one of the ``threads``, and all else goes on meanwhile:
    for what keeps Python busy, or waits without ``await``.

    Example:
        map: {input_path: numbers, output_path: sum, lambda: "numbers: sum(numbers)"}
        in:  {numbers: [1, 2, 3]}
        out: {numbers: [1, 2, 3], sum: 6}

    Raises:
        UndeclaredAwait: The lambda returned an awaitable without ``await: true``.
        QueueFull: All threads are busy, and as many steps wait for one as may.
    """


def _of_the_baton(function: Function, path: str | None) -> Step:
    """Return the step for a lambda of the whole baton."""
    target = None if path is None else str(path)  # a key of the baton, which may cross to workers

    def replacing(baton: Baton) -> Any:
        result = function(baton)
        if result.__class__ not in PLAIN and hasattr(result, "__await__"):
            raise undeclared(result)
        return result

    def discarding(baton: Baton) -> Any:
        replacing(baton)
        return baton

    def storing(baton: Baton) -> Any:
        result = function(baton)
        if result.__class__ not in PLAIN and hasattr(result, "__await__"):
            raise undeclared(result)
        if baton.__class__ is dict:
            baton[target] = result
            return baton
        return put(baton, result)

    if target is None:
        return discarding
    put = setter(target)
    return storing if target else replacing


def _of_a_key(function: Function, source: str, path: str, instead: Callable[[Baton], Any]) -> Step:
    """Return the step for a lambda of one item of the baton, whose result is another item."""
    target, put = str(path), setter(path)

    def step(baton: Baton) -> Any:
        try:
            value = baton[source]
        except (KeyError, TypeError, IndexError, AttributeError):
            value = instead(baton)
            if value is MISSING:
                return baton
        result = function(value)
        if result.__class__ not in PLAIN and hasattr(result, "__await__"):
            raise undeclared(result)
        if baton.__class__ is dict:
            baton[target] = result
            return baton
        return put(baton, result)

    return step


@processor("exec-code")
class ExecCode(InputOutputProcessor):
    """Run a block of Python code: the body of a function of ``self``, ``input`` and ``baton``.

    What it returns is the output; code that never returns a value leaves the baton as it was. Code
    that contains ``await`` is async. It sees what the lambda of eval-lambda sees.

    With ``blocking: true`` it runs in one of the ``threads``, as eval-lambda does. What it changes
    in the baton it shares with all who have the same baton meanwhile.

    Example:
        exec-code:
          input_path: words
          output_path: longest
          code: |
            by_length = sorted(input, key=len)
            return by_length[-1]
        in:  {words: [to, be, sure]}
        out: {words: [to, be, sure], longest: sure}

    Raises:
        UndeclaredAwait: The code has no ``await``, but returned an awaitable.
        QueueFull: All threads are busy, and as many steps wait for one as may.
    """

    answers: ClassVar[bool] = True  # the code may

    code: Annotated[Code, Meta(description="Python code; 'return' gives the output.")]
    inline_callbacks: Annotated[
        bool, Meta(description="Await what the code yields, and send it the result back.")
    ] = False
    use_file: Annotated[
        bool, Meta(description="Of no effect: tracebacks show the lines of the document.")
    ] = True
    namespace: Annotated[Namespace, NAMESPACE] = field(default_factory=Namespace)
    dependencies: Annotated[Dependencies, DEPENDENCIES] = field(default_factory=Dependencies)
    blocking: Annotated[bool, BLOCKING] = False
    _threads: Dependency[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.code.returns:
            self.output_path = None
        self._threads = Dependency("threads") if self.blocking else None

    @property
    def is_async(self) -> bool:
        return self.code.is_async or self.inline_callbacks or self.blocking

    def check(self) -> Iterable[Problem]:
        yield from self.code.check(self.namespace)
        if self.code.is_generator and self.code.is_async:
            yield Problem("generator-code", "code that awaits cannot yield", at="code")
        elif self.code.is_generator and not self.inline_callbacks:
            what = "code that yields is a generator, which nobody would run"
            hint = "write 'await', or add inline_callbacks: true"
            yield Problem("generator-code", what, at="code", hint=hint)
        if self.blocking:
            waits = self.code.is_async or self.inline_callbacks
            yield from check_blocking(waits, "wait in a step of its own", self.dependencies)

    def call(self) -> Callable[[Any, Baton], Any]:
        function = self.code.compile(self.namespace, self)
        if self._threads is not None:
            return in_thread(function, self._threads)
        if not self.inline_callbacks or self.code.is_async:
            return function

        async def call(value: Any, baton: Baton) -> Any:
            result = function(value, baton)
            return await _drive(result) if inspect.isgenerator(result) else result

        return call


async def _drive(generator: Generator[Any, Any, Any]) -> Any:
    """Await what a generator yields, until it returns."""
    go_on: Callable[[], Any] = partial(next, generator)
    while True:
        try:
            yielded = go_on()
        except StopIteration as end:
            return end.value
        try:
            result = await yielded if hasattr(yielded, "__await__") else yielded
        except BaseException as error:  # it is the code's to treat; what it does not goes on
            go_on = partial(generator.throw, error)
        else:
            go_on = partial(generator.send, result)
