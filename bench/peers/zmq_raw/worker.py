"""A worker: `worker.py sum` or `worker.py square`."""

from __future__ import annotations

import os
import sys
import time
from typing import NoReturn

import msgspec.json
import zmq

FOLDER = os.environ["PEER_FOLDER"]
WORK_S = float(os.environ.get("PEER_WORK_S", "0"))  # how long a job is made to take
ANSWERS = {
    "sum": lambda numbers: sum(number * number for number in numbers),
    "square": lambda numbers: sum(numbers) ** 2,
}


def main(name: str) -> NoReturn:
    encode, decode, compute = msgspec.json.encode, msgspec.json.decode, ANSWERS[name]
    context = zmq.Context()
    jobs, answers = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    jobs.connect(f"ipc://{FOLDER}/{name}")
    answers.connect(f"ipc://{FOLDER}/answers")
    while True:
        key, numbers = decode(jobs.recv())
        if WORK_S:
            time.sleep(WORK_S)
        answers.send(encode([key, name, compute(numbers)]))


if __name__ == "__main__":
    main(sys.argv[1])
