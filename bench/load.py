"""Ask a sum and square service and check each answer: `python bench/load.py PORT` prints JSON.

A closed loop: as many requests are under way as there are connections, and each connection asks
anew as soon as it has its answer. Plain sockets and epoll, and a process of its own, so that of two
cores it takes the smaller part. Every request has numbers of its own; an answer that belongs to
another one is found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import select
import socket
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE_S = 10.0  # a request that has no answer by then is one without
KINDS = 4096  # of requests; more than may ever be under way
FAILURES = (b'{"success":false}',)  # what services say that had no answer in time


@dataclass
class Tally:
    """What has become of the requests. All that was asked is in one of the counts."""

    right: int = 0
    failed: int = 0  # the service said so: 5xx, or its fallback
    wrong: int = 0  # a good answer, but not to this request
    broken: int = 0  # the connection was closed under it
    silent: int = 0  # no answer at all
    rate: float = 0.0  # right answers a second, before the time was over
    latencies_s: array[float] = field(default_factory=lambda: array("d"))

    def summary(self) -> dict[str, float]:
        """Return the counts, the rate, and the latencies of right answers in milliseconds."""
        ordered = sorted(self.latencies_s)
        counts = ("right", "failed", "wrong", "broken", "silent")
        return {
            **{name: getattr(self, name) for name in counts},
            "rate": self.rate,
            "p50_ms": at(ordered, 0.5) * 1000,
            "p99_ms": at(ordered, 0.99) * 1000,
            "max_ms": at(ordered, 1.0) * 1000,
        }


def at(ordered: list[float], part: float) -> float:
    """Return the value below which a part of all values is, 0.0 where there is none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def requests() -> Iterator[tuple[bytes, bytes]]:
    """Give requests, and the body that answers each, over and over."""
    made = []
    for number in range(KINDS):
        numbers = (number, 3, 5)
        total, square = sum(each * each for each in numbers), sum(numbers) ** 2
        body = f'{{"sum":{total},"square":{square},"diff":{square - total}}}'
        query = "&".join(f"n={each}" for each in numbers)
        made.append((f"GET /?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), body.encode()))
    return itertools.cycle(made)


class Connection:
    """A connection that has one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wanted, self.since, self._got = b"", 0.0, b""
        self.is_last = False  # the other side closes after this answer

    def ask(self, request: bytes, wanted: bytes, now: float) -> None:
        self.wanted, self.since, self._got = wanted, now, b""
        self.socket.send(request)

    def read(self) -> tuple[int, bytes] | None:
        """Return status and body once they are there.

        Raises:
            ConnectionError: The other side has closed.
        """
        got = self.socket.recv(65536)
        if not got:
            raise ConnectionResetError
        got = self._got = self._got + got if self._got else got
        end = got.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = got[: end + 2].lower()
        self.is_last = b"\r\nconnection: close\r\n" in head
        begin = head.find(b"\r\ncontent-length:") + 17
        length = int(got[begin : got.index(b"\r", begin)])
        body = got[end + 4 :]
        return (int(got[9:12]), body) if len(body) >= length else None


class Load:
    """Keeps connections busy until a time or a number of requests is over."""

    def __init__(self, port: int, connections: int, seconds: float, count: int | None) -> None:
        self.tally = Tally()
        self._port, self._seconds = port, seconds
        self._left = count if count is not None else 1 << 62
        self._requests = requests()
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._wanted = connections

    def run(self) -> Tally:
        ready = [self._connect() for _ in range(self._wanted)]
        begin = time.perf_counter()
        until = begin + self._seconds
        for connection in ready:
            self._ask(connection, time.perf_counter())
        while self._open and (now := time.perf_counter()) < until:
            self._turn(until - now)
        self.tally.rate = self.tally.right / (time.perf_counter() - begin)
        self._finish()
        return self.tally

    def _turn(self, wait_s: float) -> None:
        for number, _ in self._epoll.poll(min(wait_s, 0.1)):
            connection = self._open[number]
            try:
                answer = connection.read()
                if answer is not None:
                    now = time.perf_counter()
                    self._judge(connection, *answer, now)
                    self._ask(self._after(connection), now)
            except ConnectionError:
                self.tally.broken += 1
                self._close(connection)
                self._ask(self._connect(), time.perf_counter())

    def _after(self, connection: Connection) -> Connection:
        """Return the connection, or a new one where it is at its end."""
        if not connection.is_last:
            return connection
        self._close(connection)
        return self._connect()

    def _connect(self) -> Connection:
        connection = Connection(self._port)
        self._open[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def _ask(self, connection: Connection, now: float) -> None:
        if self._left <= 0:
            self._close(connection)
            return
        self._left -= 1
        connection.ask(*next(self._requests), now)

    def _judge(self, connection: Connection, status: int, body: bytes, now: float) -> None:
        tally, body = self.tally, body.replace(b" ", b"")
        if body == connection.wanted and status == 200:
            tally.right += 1
            tally.latencies_s.append(now - connection.since)
        elif status >= 500 or body in FAILURES:
            tally.failed += 1
        else:
            tally.wrong += 1

    def _close(self, connection: Connection) -> None:
        self._epoll.unregister(connection.socket)
        del self._open[connection.socket.fileno()]
        connection.socket.close()

    def _finish(self) -> None:
        """Wait for what is under way, and ask no more."""
        self._left, until = 0, time.perf_counter() + PATIENCE_S
        while self._open and (now := time.perf_counter()) < until:
            self._turn(until - now)
        self.tally.silent += len(self._open)
        for connection in [*self._open.values()]:
            self._close(connection)


def main() -> None:
    """Load, and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--requests", type=int, help="end after so many")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand connections are too many
    load = Load(given.port, given.connections, given.seconds, given.requests)
    print(json.dumps(load.run().summary()))


if __name__ == "__main__":
    main()
