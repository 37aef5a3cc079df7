"""What a connection recognises must be what the parser would have made of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from piped.providers.web.hosts import Hosts
from piped.providers.web.limits import Limits
from piped.providers.web.receiver import Receiver
from piped.providers.web.request import Request

HEAD = b"GET %b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
LIMITS = Limits()


def used_to(head: bytes, limits: Limits = LIMITS) -> Receiver:
    """Return a receiver that has seen a head so often that it recognises it."""
    receiver = Receiver(limits)
    for _ in range(2):
        receiver.feed(head)
    receiver.ready.clear()
    return receiver


def told(receiver: Receiver, data: bytes) -> object:
    """Return what a receiver makes of some bytes: what it has recognised, or its parser."""
    found = receiver.recognise(data)
    if found is None:
        receiver.feed(data)
        found = receiver.ready.pop() if receiver.ready else None
    refused = receiver.refused
    return (found and facts(found), refused and (refused.status, refused.rule), receiver.phase)


def facts(request: Request) -> object:
    return (
        *(request.method, request._target, request._fields, request._body),
        *(request.is_kept_alive, request.is_old, request.is_upgrade),
    )


def test_another_target_is_recognised() -> None:
    receiver = used_to(HEAD % b"/a?n=1")

    found = receiver.recognise(HEAD % b"/b%20c;d?n=2&m=~")

    assert found is not None
    assert facts(found) == (
        *("GET", b"/b%20c;d?n=2&m=~", [(b"host", b"x"), (b"accept", b"*/*")], b""),
        *(True, False, False),
    )


def test_what_differs_in_one_byte_is_not_recognised() -> None:
    receiver, head = used_to(HEAD % b"/"), HEAD % b"/"

    changed = [head[:at] + b"\x01" + head[at + 1 :] for at in range(len(head))]

    assert [each for each in changed if receiver.recognise(each)] == []
    assert receiver.recognise(head[:-1]) is None
    assert receiver.recognise(head + head) is None
    assert receiver.recognise(head) is not None


def test_a_half_head_keeps_the_next_one_from_being_recognised() -> None:
    receiver, head = used_to(HEAD % b"/"), HEAD % b"/"

    receiver.feed(head[:5])

    assert receiver.recognise(head) is None


def test_what_is_recognised_counts_as_a_request_of_the_connection() -> None:
    receiver, head = used_to(HEAD % b"/", replace(LIMITS, requests=4)), HEAD % b"/"

    third, fourth = receiver.recognise(head), receiver.recognise(head)
    receiver.feed(head)

    assert third is not None
    assert fourth is None
    assert not receiver.ready[0].is_kept_alive


def test_a_large_head_is_left_to_the_parser() -> None:
    receiver = used_to(HEAD % b"/", replace(LIMITS, header_bytes=100))

    assert receiver.recognise(HEAD % (b"/" + b"a" * 100)) is None


def test_other_limits_are_kept_by_what_was_recognised_before() -> None:
    receiver, head = used_to(HEAD % b"/"), HEAD % b"/"

    receiver.change(replace(LIMITS, hosts=Hosts([80], ["y"])))

    assert receiver.recognise(head) is None
    receiver.feed(head)
    assert receiver.refused is not None
    assert receiver.refused.status == 421


lines = st.builds(
    lambda method, target, version: b"%b %b %b\r\n" % (method, target, version),
    st.sampled_from([b"GET", b"GET", b"HEAD", b"get", b"POST"]),
    st.sampled_from([b"/", b"/a?n=1", b"/a b", b"*", b"http://x/", b"/#", b"/\xff", b"//x", b""]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"]),
)
fields = st.lists(
    st.sampled_from(
        [
            *(b"Host: x", b"Host: x", b"Host: y", b"Accept: a", b"Connection: close", b"A_b: c"),
            *(b"Content-Length: 0", b"Content-Length: 2", b"Transfer-Encoding: chunked"),
            *(b"Expect: 100-continue", b"Connection: upgrade\r\nUpgrade: h2c", b"bad", b" folded"),
        ]
    ),
    max_size=2,
)
heads = st.builds(
    lambda line, rest: line + b"\r\n".join([b"Host: x", *rest, b"", b""]), lines, fields
)


@given(habit=heads, asked=heads, times=st.integers(0, 3))
def test_a_used_connection_makes_of_a_head_what_a_new_one_makes(
    habit: bytes, asked: bytes, times: int
) -> None:
    receiver = Receiver(LIMITS)
    for _ in range(times):
        told(receiver, habit)
    if receiver.phase or receiver.refused or receiver.is_last or receiver.early is not None:
        return

    assert told(receiver, asked) == told(Receiver(LIMITS), asked)
