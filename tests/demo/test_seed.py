"""Seeding may be done as often as one likes: what is there stays, what is missing comes."""

import json
import socket
import stat

import pytest
from django.contrib.auth import authenticate

from apps.access.domain.roles import Role
from apps.access.models import ApiKey, Environment, Grant
from apps.alerts.models import Channel
from apps.catalog.models import Model
from demo import seed

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def allow_private_addresses(settings):
    settings.ALERT_PRIVATE_ADDRESSES = True


def test_it_writes_what_the_contract_promises_for_its_owner_only(tmp_path, now):
    seed.seed(url=URL, data=tmp_path, now=now)

    file = tmp_path / "demo.json"
    demo = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(demo) == {"url", "operator", "approver", "viewer", "keys", "environment", "route"}
    assert set(demo["keys"]) == {"read", "report", "manage"}
    assert (demo["url"], demo["environment"], demo["route"]) == (URL, "production", "invoice-extraction")


def test_the_three_people_can_log_in_with_their_roles(tmp_path, now):
    demo = seed.seed(url=URL, data=tmp_path, now=now).demo

    for part, role in (("operator", Role.OPERATOR), ("approver", Role.APPROVER), ("viewer", Role.VIEWER)):
        user = authenticate(**demo[part])
        assert user is not None
        assert Grant.objects.get(user=user).role == role


def test_each_key_may_do_what_its_holder_needs(tmp_path, now):
    seed.seed(url=URL, data=tmp_path, now=now)

    scopes = {key.name: key.scopes for key in ApiKey.objects.all()}
    assert scopes == {
        "demo-read": ["flags:read"],
        "demo-report": ["telemetry:write"],
        "demo-manage": ["manage:admin", "manage:read", "manage:write"],
        "invoices": ["flags:read", "telemetry:write"],
        "claims": ["flags:read", "telemetry:write"],
    }


def test_a_second_time_changes_nothing(tmp_path, now):
    first = seed.seed(url=URL, data=tmp_path, now=now)
    counted = {model: model.objects.count() for model in (ApiKey, Environment, Grant, Channel, Model)}

    second = seed.seed(url=URL, data=tmp_path, now=now)

    assert second == first
    assert counted == {model: model.objects.count() for model in counted}


def test_a_lost_file_gives_new_passwords_and_keys_that_work(tmp_path, now):
    first = seed.seed(url=URL, data=tmp_path, now=now).demo
    (tmp_path / "demo.json").unlink()

    second = seed.seed(url=URL, data=tmp_path, now=now).demo

    assert second["keys"]["read"] != first["keys"]["read"]
    assert authenticate(**second["operator"]) is not None
    assert authenticate(**first["operator"]) is None


def test_another_port_changes_the_address_and_nothing_else(tmp_path, now):
    first = seed.seed(url=URL, data=tmp_path, now=now).demo

    second = seed.seed(url="http://127.0.0.1:9000", data=tmp_path, now=now).demo

    assert second == first | {"url": "http://127.0.0.1:9000"}


def test_the_channels_are_a_signed_webhook_to_the_receiver_and_a_mail(tmp_path, now):
    seeded = seed.seed(url=URL, data=tmp_path, now=now)

    webhook = Channel.objects.get(kind="webhook")
    kept = json.loads((tmp_path / "demo" / "receiver.json").read_text())
    assert webhook.config["url"] == f"http://127.0.0.1:{seeded.receiver_port}/changeover"
    assert webhook.config["secret"] == kept["secret"]
    assert Channel.objects.get(kind="email").config == {"to": ["oncall@example.com"]}


def test_a_receiver_whose_port_is_taken_moves_and_the_channel_follows(tmp_path, now):
    first = seed.seed(url=URL, data=tmp_path, now=now)

    with socket.socket() as other:
        other.bind(("127.0.0.1", first.receiver_port))
        other.listen()
        second = seed.seed(url=URL, data=tmp_path, now=now)

    assert second.receiver_port != first.receiver_port
    assert str(second.receiver_port) in Channel.objects.get(kind="webhook").config["url"]


def test_the_five_contenders_are_in_the_catalogue(tmp_path, now):
    seed.seed(url=URL, data=tmp_path, now=now)

    keys = set(Model.objects.values_list("key", flat=True))
    variants = [variant for route in seed.ROUTES for variant in route["variants"].values()]
    assert {variant["model"] for variant in variants} <= keys
