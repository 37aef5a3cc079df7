"""Push messages as fast as they are taken, and print how many a second: `flood.py ADDRESS S`."""

from __future__ import annotations

import sys
import time

import zmq

MESSAGE = b"x" * 32
WARM_UP_S = 0.5
A_TURN = 1000


def main(address: str, seconds: float) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.linger = 0
    socket.connect(address)
    begin = time.perf_counter() + WARM_UP_S
    sent = took = 0.0
    while took < seconds:
        for _ in range(A_TURN):
            socket.send(MESSAGE)  # waits where there is no room, so it is no faster than the reader
        took = time.perf_counter() - begin
        sent = sent + A_TURN if took > 0 else 0
    context.destroy()
    print(sent / took)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
