"""The parts of a pool that nobody waits for any more, as far as they are remembered."""

from __future__ import annotations

from typing import Final, TypeAlias

from piped.workers.parts import Part

_Ended: TypeAlias = bytes | tuple[dict[int, bytes], bool]
"""Who held a part that is closed, and whether it was answered; of most, who answered it at once."""


class Closed:
    """The parts that were closed lately, so that late and double answers are told from forged.

    They are kept in two halves, and the older one is forgotten as a whole: to take the first out of
    one dict, over and over, makes Python look at all places that were emptied before.
    """

    __slots__ = ("_old", "_since", "_young")

    KEPT_S: Final = 60.0
    """How long a part is remembered at least, unless there are too many."""
    KEPT: Final = 100_000

    def __init__(self) -> None:
        self._young: dict[bytes, _Ended] = {}
        self._old: dict[bytes, _Ended] = {}
        self._since = 0.0  # when the older half was forgotten

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, part: Part, *, is_answered: bool) -> None:
        """Remember a part that nobody waits for any more."""
        if len(self._young) >= self.KEPT // 2:
            self._forget_half()
        is_simple = is_answered and len(part.holders) == 1 and 1 in part.holders
        self._young[part.id] = part.holders[1] if is_simple else (part.holders, is_answered)

    def kind_of(self, id_: bytes, attempt: int, address: bytes) -> str:
        """Return what an answer is that comes for no open part: late, double or forged."""
        found = self._found(id_)
        if found is None or found[0].get(attempt) != address:
            return "forged"
        return "double" if found[1] else "late"

    def forget(self, now: float) -> None:
        """Forget the parts that were closed long ago."""
        if now >= self._since + self.KEPT_S:
            self._since = now
            self._forget_half()

    def _forget_half(self) -> None:
        self._old, self._young = self._young, {}

    def _found(self, id_: bytes) -> tuple[dict[int, bytes], bool] | None:
        """Return who held a part, and whether it was answered."""
        found = self._young.get(id_) or self._old.get(id_)
        return ({1: found}, True) if isinstance(found, bytes) else found
