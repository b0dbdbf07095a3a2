"""Addresses and secrets of channels: sealed in the database, masked wherever they are shown."""

import io

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.access.models import RememberedAnswer
from apps.alerts import services
from apps.alerts.models import Channel, Delivery
from tests.alerts.make_alerts import ALICE, SECOND, channel, say, webhook

pytestmark = pytest.mark.django_db
SLACK = "https://hooks.slack.com/services/T0/B0/canarycanary"
PAGER = "c" * 26 + "canary"
TAIL = "json://user:canarycanary@hooks.example.com/"


def dump() -> str:
    """Every table as it stands, whatever the database."""
    out = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            out += [str(row) for row in cursor.fetchall()]
    return "\n".join(out)


@pytest.fixture
def secrets(receiver, now) -> list[str]:
    """One channel of each kind that has a secret, used, tested and rotated."""
    hook = webhook(receiver, now)
    first = hook.config["secret"]
    channel("slack", now, url=SLACK)
    channel("pagerduty", now, routing_key=PAGER)
    channel("apprise", now, urls=[TAIL])
    hook = services.rotate_secret(channel=hook, by=ALICE, now=now)
    services.update_channel(channel=Channel.objects.get(kind="slack"), config={"url": SLACK + "2"}, by=ALICE, now=now)
    services.test_channel(channel=hook, by=ALICE, now=now)
    return [first, hook.config["secret"], PAGER, "canary", receiver.url]


def test_no_dump_of_the_database_has_a_secret_in_it(secrets, receiver, now):
    Channel.objects.exclude(kind="webhook").update(is_active=False)
    say(now)
    services.dispatch(now)
    written = io.StringIO()
    call_command("dumpdata", "alerts", "journal", stdout=written)

    for told in (dump(), written.getvalue()):
        assert "invoice-extraction" in told
        assert [secret for secret in secrets if secret in told] == []
    assert receiver.types() == ["alert.test", "alert.firing"]


def test_a_dump_can_be_loaded_again(receiver, now):
    hook = webhook(receiver, now)
    written = serializers.serialize("json", Channel.objects.all())
    Channel.objects.all().delete()

    for each in serializers.deserialize("json", written):
        each.save()

    assert Channel.objects.get().config == hook.config


def test_a_channel_under_a_lost_key_says_so_and_works_again_when_the_key_is_back(receiver, now, settings):
    webhook(receiver, now)
    kept, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    say(now)
    services.dispatch(now)
    lost = Delivery.objects.get().answer
    Channel.objects.get().save()  # as the admin does
    settings.SECRET_KEY_FALLBACKS = [kept]

    services.dispatch(now + 10 * SECOND)

    assert lost == "its secrets cannot be read: SECRET_KEY is another one than when they were saved"
    assert len(receiver.got) == 1


def test_what_an_older_key_sealed_is_sealed_anew_so_that_the_older_key_may_go(receiver, now, settings):
    hook = webhook(receiver, now)
    kept, settings.SECRET_KEY = settings.SECRET_KEY, "newer"
    settings.SECRET_KEY_FALLBACKS = [kept]

    services.forget_old(now)
    settings.SECRET_KEY_FALLBACKS = []

    assert Channel.objects.get().config == hook.config


def test_a_remembered_answer_does_not_keep_the_secret_that_it_showed_once(environment, receiver, client, alice):
    client.force_login(alice)
    body = {"environment": "production", "kind": "webhook", "name": "hook", "config": {"url": receiver.url}}

    def ask():
        return client.post("/api/v1/channels/", body, "application/json", headers={"Idempotency-Key": "once"}).json()

    first, again = ask(), ask()

    assert again == first
    assert Channel.objects.count() == RememberedAnswer.objects.count() == 1
    assert first["config"]["secret"] not in dump()


def test_the_admin_shows_channels_without_what_is_secret(secrets, receiver, now, admin_client):
    say(now)
    services.read_journal(now)
    pages = [f"/admin/alerts/{name}/" for name in ("alert", "channel", "delivery", "silence")]
    pages += [f"/admin/alerts/channel/{one.pk}/change/" for one in Channel.objects.all()]

    told = [admin_client.get(page) for page in pages]

    assert {answer.status_code for answer in told} == {200}
    assert [secret for secret in secrets for answer in told if secret in answer.content.decode()] == []


@pytest.mark.django_db(transaction=True)
def test_what_stood_there_in_plain_text_is_sealed_by_the_migration_and_comes_back_if_it_is_undone(now):
    def at(name):
        executor = MigrationExecutor(connection)
        executor.migrate([("alerts", name)])
        return executor.loader.project_state([("alerts", name)]).apps.get_model("alerts", "Channel")

    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("alerts")[0][1]
    try:
        old = at("0002_channels_and_silences")
        old.objects.create(environment="e", kind="slack", name="s", config={"url": SLACK}, created_at=now)
        plain = dump()
        at("0005_config_is_sealed")
        sealed, opened = dump(), Channel.objects.values_list("config", flat=True).get()
        back = at("0002_channels_and_silences").objects.get().config
    finally:
        at(newest)

    assert SLACK in plain
    assert SLACK not in sealed
    assert opened == back == {"url": SLACK}
