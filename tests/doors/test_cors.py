"""Pages of other sites may ask the flag doors where a setting names their origin; the management API they never may."""

import asyncio
from typing import Any

import pytest
from django.conf import settings

from apps.flags import serving
from apps.flags.serving import cors, ofrep
from tests.flags.doors import Answer, make_key, scope_of
from tests.flags.make_flags import make_flag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shelf_of_this_test")]
POLL, BULK, ONE = "/flagd/flags.json", ofrep.BULK, ofrep.ONE
PAGE = {"Origin": "https://app.example.com"}
PREFLIGHT = PAGE | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
DOORS = serving.WHOLE_PATHS | {("POST", ONE): ofrep.evaluate_one}


def ask(method: str, path: str, headers: dict[str, str], *, allowed: str = PAGE["Origin"]) -> Answer:
    found = Answer()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found.status, found.headers = message["status"], list(message["headers"])
        else:
            found.body += message["body"]

    door = cors.doors_for([allowed], DOORS)[method, path]
    asyncio.run(door(scope_of(method, path, headers), receive, send))
    return found


@pytest.mark.parametrize("path", [POLL, BULK, ONE, "/api/v1/changes", "/ofrep/v1/events"])
def test_a_browser_that_asks_first_is_told_what_it_may_send_without_a_key(path):
    answer = ask("OPTIONS", path, PREFLIGHT)

    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("access-control-allow-origin") == "https://app.example.com"
    assert "Authorization" in answer.header("access-control-allow-headers")
    assert "If-None-Match" in answer.header("access-control-allow-headers")
    assert answer.header("access-control-allow-credentials") is None


def test_a_page_may_read_the_answer_its_tag_and_when_to_come_again():
    make_flag()
    answer = ask("POST", BULK, make_key() | PAGE)

    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == "https://app.example.com"
    assert answer.header("access-control-expose-headers") == "ETag, Retry-After, X-Snapshot-Age"
    assert "Origin" in [value.decode() for name, value in answer.headers if name == b"vary"]


def test_a_refusal_can_be_read_too():
    answer = ask("GET", POLL, PAGE)

    assert (answer.status, answer.header("access-control-allow-origin")) == (401, "https://app.example.com")


@pytest.mark.parametrize("origin", ["https://evil.example.com", "https://app.example.com.evil.net", "null"])
def test_another_origin_may_not(origin):
    make_flag()

    assert ask("OPTIONS", BULK, PREFLIGHT | {"Origin": origin}).status == 403
    answer = ask("POST", BULK, make_key() | {"Origin": origin})
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, None)


def test_a_star_is_every_origin():
    assert ask("OPTIONS", BULK, PREFLIGHT, allowed="*").header("access-control-allow-origin") == "*"


def test_without_the_setting_no_door_knows_of_it():
    assert settings.CORS_ALLOWED_ORIGINS == []
    assert serving.DOORS == serving.WHOLE_PATHS
    assert cors.doors_for([], DOORS) == DOORS


def test_the_management_api_is_never_shared(client):
    answer = client.options("/api/v1/flags/", headers=PREFLIGHT | {"Origin": "https://app.example.com"})

    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
