"""A script asks again while nobody answers, and takes a no for a no."""

import httpx2
import pytest

from demo import plane as planes


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(planes, "WAIT", 0)


def make_plane(*answers):
    waiting = list(answers)
    seen = []

    def answer(request):
        seen.append(request)
        following = waiting.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    plane = planes.Plane("http://plane", environment="production", manage="m", read="r", report="t")
    plane.http = httpx2.Client(base_url="http://plane", transport=httpx2.MockTransport(answer))
    return plane, seen


def test_it_asks_again_until_somebody_answers_with_one_idempotency_key():
    plane, seen = make_plane(httpx2.ConnectError("gone"), httpx2.Response(503), httpx2.Response(201, json={"id": "x"}))

    assert plane.post("/api/v1/rollouts/", {}) == {"id": "x"}

    assert len({request.headers["idempotency-key"] for request in seen}) == 1
    assert len(seen) == 3


def test_a_refusal_is_not_asked_again():
    plane, seen = make_plane(
        httpx2.Response(409, json={"code": "flag_is_held", "detail": "A rollout holds this flag."})
    )

    with pytest.raises(planes.Refused, match="A rollout holds this flag"):
        plane.post("/api/v1/rollouts/", {})

    assert len(seen) == 1


def test_ensuring_what_is_there_is_no_refusal():
    plane, _ = make_plane(httpx2.Response(409, json={}), httpx2.Response(201, json={}), httpx2.Response(400, json={}))

    assert plane.ensure("/api/v1/routes/", {}) is False
    assert plane.ensure("/api/v1/routes/", {}) is True
    with pytest.raises(planes.Refused):
        plane.ensure("/api/v1/routes/", {})


def test_each_door_gets_its_own_key():
    plane, seen = make_plane(httpx2.Response(202, json={}), httpx2.Response(200, json={"results": [1], "next": None}))

    plane.post("/api/v1/telemetry", {}, key="report")
    assert plane.results("/api/v1/rollouts/", route="x") == [1]

    assert [request.headers["authorization"] for request in seen] == ["Bearer t", "Bearer m"]
    assert dict(seen[1].url.params) == {"environment": "production", "limit": "100", "route": "x"}
