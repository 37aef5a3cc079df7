"""Starting and stopping tick intervals."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from piped.batons import Baton
from piped.spec import Dependency, Meta, Processor, processor


class _Switch(Processor):
    interval: Annotated[
        str, Meta(description="The name of the interval, as below 'ticks.interval'.")
    ]
    _ticking: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._ticking = Dependency(f"ticks.interval.{self.interval}")


@processor("start-tick-interval")
class StartTickInterval(_Switch):
    """Have an interval tick: at once, and then regularly; the baton stays as it is.

    Nothing changes where it ticks already.

    Example:
        start-tick-interval: {interval: reap}

    Raises:
        Unavailable: The interval is not there now.
    """

    def process(self, baton: Baton) -> Baton:
        self._ticking.value.start_ticking()
        return baton


@processor("stop-tick-interval")
class StopTickInterval(_Switch):
    """Have an interval tick no more, until it is started again; the baton stays as it is.

    A tick that is being treated comes to its end.

    Example:
        stop-tick-interval: {interval: reap}

    Raises:
        Unavailable: The interval is not there now.
    """

    def process(self, baton: Baton) -> Baton:
        self._ticking.value.stop_ticking()
        return baton
