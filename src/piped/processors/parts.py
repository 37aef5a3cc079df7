"""What a pipeline can know of the part that a worker runs it for."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from piped.batons import Baton, BatonPath, setter
from piped.errors import BatonError
from piped.spec import Dependency, Meta, Processor, Step, processor


@processor("fetch-idempotency-key")
class FetchIdempotencyKey(Processor):
    """Put the idempotency key of the part that a worker is doing into the baton.

    It is the same in each attempt at that part, and no other part has it. A payment service, or a
    table with a unique column, tells by it that something was done already.

    Example:
        fetch-idempotency-key: {output_path: payment.key}
        in:  {payment: {amount: 5}}
        out: {payment: {amount: 5, key: 6f2d}}

    Raises:
        BatonError: No worker runs this pipeline.
    """

    output_path: Annotated[
        BatonPath, Meta(description="Where the key goes; '' replaces the baton.")
    ] = BatonPath("idempotency_key")
    _workers: Dependency[Any] = field(default_factory=lambda: Dependency("workers"), init=False)

    def step(self) -> Step:
        put, workers = setter(self.output_path), self._workers

        def step(baton: Baton) -> Baton:
            key = workers.value.idempotency_key()
            if not key:
                raise BatonError("no worker pool runs this: there is no idempotency key")
            return put(baton, key)

        return step
