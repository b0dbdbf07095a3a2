import asyncio

import pytest

from apps.core.asgi import TooLarge, read_body


def body_of(*parts: bytes, length: bytes | None = None, limit: int = 10) -> bytes:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    left = iter(messages)

    async def receive():
        return next(left)

    headers = [(b"content-length", length)] if length is not None else []
    return asyncio.run(read_body({"headers": headers}, receive, limit))


def test_a_body_in_parts_is_joined():
    assert body_of(b"ab", b"cd") == b"abcd"


@pytest.mark.parametrize("length", [b"11", b"many", b"-1"])
def test_a_length_over_the_limit_is_refused_before_reading(length):
    with pytest.raises(TooLarge):
        body_of(b"x", length=length)


def test_a_body_that_names_no_length_is_counted_while_it_is_read():
    with pytest.raises(TooLarge):
        body_of(b"123456", b"78901")


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"40")]], ids=["chunked", "with length"])
def test_a_body_that_is_too_large_goes_by_so_that_its_sender_hears_so(headers):
    left = [b"x" * 10] * 4

    async def receive():
        part = left.pop()
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    with pytest.raises(TooLarge):
        asyncio.run(read_body({"headers": headers}, receive, 15))

    assert left == []


@pytest.mark.parametrize("more", [(b"expect", b"100-continue"), (b"content-length", b"999999999999")])
def test_who_waits_to_be_asked_and_who_would_send_for_ever_are_refused_at_once(more):
    async def receive():
        raise AssertionError("nobody asks for it")

    with pytest.raises(TooLarge):
        asyncio.run(read_body({"headers": [more, (b"content-length", b"40")]}, receive, 15))


def test_a_caller_that_has_gone_is_no_body():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ConnectionError):
        asyncio.run(read_body({"headers": []}, receive, 10))


def test_a_body_that_is_all_there_is_not_waited_for():
    async def receive():
        assert not asked
        asked.append(True)
        return {"type": "http.request", "body": b"abcd", "more_body": True}

    asked: list[bool] = []

    assert asyncio.run(read_body({"headers": [(b"content-length", b"4")]}, receive, 10)) == b"abcd"
