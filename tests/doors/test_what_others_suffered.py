"""What went wrong at flag services elsewhere, asked of our doors. Each test is named after what happened."""

import asyncio
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access import serving as access
from apps.flags import services
from apps.flags.serving import held as held_module
from apps.flags.serving.held import Held
from apps.flags.serving.refusing import refusals
from apps.flags.serving.shelf import Shelf
from changeover import Snapshot
from controlplane import health
from tests.flags.doors import ask, call, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
BULK, POLL, CHANGES = "/ofrep/v1/evaluate/flags", "/flagd/flags.json", "/api/v1/changes"
ONE = f"{BULK}/new-parser"
DOORS = [("POST", ONE), ("POST", BULK), ("GET", POLL), ("GET", CHANGES)]
SAID = {"environment": "production", "key": "new-parser", "by": ALICE, "because": "to see", "now": NOW}
BETA = {"if": [{"==": [{"var": "plan"}, "beta"]}, "on"]}


@pytest.fixture
def key() -> dict[str, str]:
    make_flag(targeting=BETA)
    headers = make_key()
    look()
    return headers


def test_a_tag_that_ignored_the_context_gave_one_users_flags_to_another(key):
    beta, gold = ({"context": {"targetingKey": "u", "plan": plan}} for plan in ("beta", "gold"))
    tag = ask("POST", BULK, headers=key, body=beta).header("etag")

    other = ask("POST", BULK, headers=key | {"If-None-Match": tag}, body=gold)

    assert (other.status, other.json["flags"][0]["value"]) == (200, False)
    assert other.header("etag") != tag


def test_a_tag_does_not_say_what_is_newer_so_that_every_answer_has_a_number_that_grows(key):
    def revisions() -> set[int]:
        one, bulk = ask("POST", ONE, headers=key), ask("POST", BULK, headers=key)
        polled = ask("GET", POLL, headers=key)
        return {answer.json["metadata"]["revision"] for answer in (one, bulk, polled)}

    before = revisions()
    services.update_flag(**SAID, default_variant="on")
    look()

    assert (before, revisions()) == ({1}, {2})


def test_readyz_said_ready_before_flags_could_be_evaluated(monkeypatch, shelf_of_this_test: Shelf):
    make_flag(targeting=BETA)
    access.refresh()
    assert health.look_at_flags() == {"ok": False, "reason": "Snapshots are not loaded yet."}
    evaluated: list[str] = []
    real = Snapshot.evaluate
    monkeypatch.setattr(Snapshot, "evaluate", lambda *args, **named: evaluated.append(args[1]) or real(*args, **named))

    look()

    assert evaluated == ["new-parser"], "compiled, and one evaluation has run"
    assert health.look_at_flags()["ok"] is True


def test_readyz_never_said_ready_since_one_flag_was_broken():
    broken = b'{"flags":{"a":{"state":"ENABLED","variants":{"x":1},"targeting":{"no":[1]}}},"metadata":{}}'

    assert Held("production", 1, broken, 0.0).evaluate("a", {}, 0.0).status == 400


def test_a_kill_switch_that_could_not_be_evaluated_was_read_as_active():
    body = json.dumps(
        {
            "flags": {
                "kill": {
                    "state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on",
                    "targeting": {"if": [{"no_such_operator": [{"var": "plan"}]}, "off", "on"]},
                }
            },
            "metadata": {"revision": 1},
        }
    ).encode()  # fmt: skip
    held = Held("production", 1, body, 0.0)

    item = held.evaluate("kill", {"targetingKey": "u"}, 0.0)

    told = json.loads(item.body)
    assert (item.status, told["errorCode"]) == (400, "PARSE_ERROR")
    assert "value" not in told and "variant" not in told, "neither on nor off: the code's own default"
    assert not item.counts, "nobody was shown a variant"
    assert held.reasons["ERROR"] == 1, "and it is counted: /metrics tells"


def test_a_variant_without_a_value_had_an_error_code_that_the_protocol_does_not_know():
    body = b'{"flags":{"a":{"state":"ENABLED","variants":{"x":null},"defaultVariant":"x"}},"metadata":{}}'

    told = json.loads(Held("production", 1, body, 0.0).evaluate("a", {}, 0.0).body)

    assert told["errorCode"] == "GENERAL"
    assert told["errorCode"] in held_module.CODES


def test_a_flag_that_needs_a_subject_failed_the_whole_bulk(key):
    make_flag("needs", metadata={"targetingKeyRequired": True})
    look()

    answer = ask("POST", BULK, headers=key)

    told = {item["key"]: item for item in answer.json["flags"]}
    assert (answer.status, told["needs"]["errorCode"]) == (200, "TARGETING_KEY_MISSING")
    assert told["new-parser"]["value"] is False


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_web_clients_with_a_dead_key_poll_on_at_full_rate_so_a_401_must_cost_nothing(method, path, key):
    wrong = {"Authorization": "Bearer co_wrong"}

    with CaptureQueriesContext(connection) as queries:
        assert ask(method, path, headers=wrong, body=b"x" * 2**20).status == 401
    assert len(queries) == 0
    assert refusals.counts, "it is counted in memory, and written later"


@pytest.mark.parametrize("wrap", ["W/{}", '"x", {}', '"x",W/{} ', "*"])
def test_a_proxy_that_compresses_weakened_the_tag_and_every_poll_was_whole(wrap, key):
    tag = ask("GET", POLL, headers=key).header("etag")

    assert ask("GET", POLL, headers=key | {"If-None-Match": wrap.format(tag)}).status == 304
    assert ask("GET", POLL, headers=key | {"If-None-Match": '"another"'}).status == 200


def test_a_retry_after_that_is_no_whole_number_put_clients_to_sleep_for_half_an_hour(
    key, shelf_of_this_test: Shelf, monkeypatch
):
    monkeypatch.setattr(shelf_of_this_test, "get", lambda environment: None)

    refused = [ask(method, path, headers=key) for method, path in DOORS]

    assert [answer.status for answer in refused] == [503] * 4
    assert all(answer.header("retry-after").isdigit() for answer in refused)


def test_a_reader_of_another_environment_saw_what_was_not_its_own(key):
    make_route(environment="staging")
    look()
    staging = make_key("staging")

    assert ask("POST", ONE, headers=staging).status == 404
    assert "new-parser" not in ask("POST", BULK, headers=staging).body.decode()
    assert "new-parser" not in ask("GET", POLL, headers=staging).body.decode()


def test_many_readers_of_one_change_asked_at_once_and_the_server_fell(key):
    """The answer of a poll is made once for a version: readers cost no compilation and no query."""

    async def thousand() -> set[int]:
        answers = await asyncio.gather(*(call("GET", POLL, headers=key) for _ in range(1000)))
        return {answer.status for answer in answers}

    with CaptureQueriesContext(connection) as queries:
        assert asyncio.run(thousand()) == {200}
    assert len(queries) == 0
