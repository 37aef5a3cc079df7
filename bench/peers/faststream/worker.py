"""A worker: `worker.py sum` or `worker.py square`."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop
from faststream import FastStream
from faststream.nats import NatsBroker

NAME = sys.argv[1]
WORK_S = float(os.environ.get("PEER_WORK_S", "0"))  # how long a job is made to take

broker = NatsBroker(os.environ["NATS_URL"], logger=None)


@broker.subscriber(NAME, queue="workers")
async def compute(numbers: list[int]) -> int:
    if WORK_S:
        await asyncio.sleep(WORK_S)
    if NAME == "sum":
        return sum(number * number for number in numbers)
    return sum(numbers) ** 2


if __name__ == "__main__":
    uvloop.run(FastStream(broker, logger=None).run())
