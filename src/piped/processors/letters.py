"""Letters about batons that could not be treated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import structlog

from piped.batons import Baton, BatonPath
from piped.errors import PipelineError, TooDeep
from piped.processors._failure import cause_of, origin_of, report_of
from piped.processors._running import later, name_of, now, shallow, waits
from piped.spec import InputOutputProcessor, Meta, PipelineName, processor

log = structlog.get_logger("piped.flow")


@processor("dead-letter")
class DeadLetter(InputOutputProcessor):
    """Send a letter about the failure that is being treated through a pipeline, and wait for it.

    It belongs among error consumers, or in a ``catch`` pipeline of try. The letter is
    ``{baton, error: {type, message, at, cause}, attempts, origin: {pipeline, place}, time}``:
    ``baton`` is the input, ``at`` and ``origin`` tell which step raised the error, ``cause`` is the
    error before it in the same form, or null, ``attempts`` is 1 unless retry has counted them,
    ``time`` is in UTC. The baton goes on as it is, unless ``output_path`` is given.

    Example:
        dead-letter: {input_path: order, pipeline: letters}

    Raises:
        PipelineError: No failure is being treated.
        Exception: What kept the letter from being delivered; its cause is the failure.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that takes the letter.")]
    output_path: Annotated[
        BatonPath | None, Meta(description="Where the last result of the pipeline goes.")
    ] = None
    skip_if_nonexistent: Annotated[
        bool, Meta(description="Write no letter where there is no input.")
    ] = False

    @property
    def is_async(self) -> bool:
        return waits(self.pipeline)

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.is_async:
            return self._call_later()
        send = now(self.pipeline)

        def call(value: Any, _baton: Baton) -> Any:
            failure = _current()
            letter = self._letter(value, failure)
            try:
                return send(letter)
            except TooDeep:
                raise
            except Exception as error:
                self._give_up(letter, failure, error)

        return call

    def _call_later(self) -> Callable[[Any, Baton], Any]:
        send = later(self.pipeline)

        async def call(value: Any, _baton: Baton) -> Any:
            failure = _current()
            letter = self._letter(value, failure)
            try:
                return await send(letter)
            except TooDeep:
                raise
            except Exception as error:
                self._give_up(letter, failure, error)

        return call

    def _letter(self, value: Any, failure: BaseException) -> dict[str, Any]:
        attempts = getattr(failure, "attempts", 1)
        return {
            "baton": shallow(value),
            "error": report_of(failure) | {"cause": cause_of(failure)},
            "attempts": attempts if isinstance(attempts, int) else 1,
            "origin": origin_of(failure, self.home),
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def _give_up(
        self, letter: dict[str, Any], failure: BaseException, error: Exception
    ) -> NoReturn:
        """Say what the letter would have said, without the baton, and raise what has stopped it."""
        told = letter["error"]
        log.error(
            "letter not delivered",
            pipeline=name_of(self.pipeline),
            reason=f"{type(error).__name__}: {error}",
            error=f"{told['type']}: {told['message']}",
            at=told["at"],
            attempts=letter["attempts"],
        )
        if error is failure:
            raise error
        raise error from error.__cause__ or failure


def _current() -> BaseException:
    failure = sys.exc_info()[1]
    if failure is None:
        raise PipelineError(
            "there is no failure to write about: use it among error consumers or in a 'catch'"
        )
    return failure
