"""What is known of a flag's use: what may go, who asks, who lags behind."""

from datetime import timedelta

import pytest

from apps.flags import clean_up, queries, services
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route

pytestmark = pytest.mark.django_db
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}
ROUTE = SAID | {"key": "invoice-extraction"}
LONG_AGO = NOW - timedelta(days=40)


def see(flag: str, variant: str, *, at=NOW, count: int = 1, by: str = "split", client: str = "invoices", subjects=()):
    exposure = {
        "flag": flag, "variant": variant, "snapshot": 1, "assigned_by": by, "minute": at.isoformat(), "count": count,
        "subjects": list(subjects),
    }  # fmt: skip
    told = {"name": client, "sdk": "changeover-python/1.0", "snapshot": 1} if client else None
    services.note_seen(environment="production", client=told, exposures=[exposure], now=at)


def reasons(**asked) -> dict[str, list[str]]:
    stale = clean_up.clean_up("production", NOW, **asked)
    return {one.key: [reason.code for reason in one.reasons] for one in stale}


def test_the_clean_up_list_names_what_may_go_and_why():
    make_flag("unused", now=LONG_AGO, owner="payments")
    make_flag("decided", now=LONG_AGO)
    make_flag("asked", now=LONG_AGO)
    make_flag("expired", now=LONG_AGO, expires_on=(NOW - timedelta(days=1)).date())
    make_flag("young", now=NOW - timedelta(days=3))
    make_flag("kept", now=LONG_AGO, is_permanent=True)
    make_route(now=LONG_AGO)
    for variant in ("on", "off"):
        see("asked", variant)
        see("expired", variant)
    see("decided", "on")
    see("kept", "off")
    see("invoice-extraction", "gpt-4.1")

    assert reasons() == {"unused": ["never_evaluated"], "decided": ["one_variant"], "expired": ["expired"]}
    by_key = {one.key: one for one in clean_up.clean_up("production", NOW)}
    assert by_key["unused"].owner == "payments"
    assert by_key["unused"].last_evaluated_at is None
    assert by_key["decided"].reasons[0].sentence == "Everybody has got on for 14 days."
    assert by_key["decided"].last_evaluated_at == NOW


def test_what_changed_lately_has_not_had_one_variant_for_long():
    make_flag(now=LONG_AGO)
    see("new-parser", "off")
    services.update_flag(**SAID, key="new-parser", description="x")

    assert reasons() == {}


def test_what_was_asked_for_long_ago_is_stale_and_says_when():
    make_flag(now=LONG_AGO)
    see("new-parser", "off", at=NOW - timedelta(days=20))

    (one,) = clean_up.clean_up("production", NOW)

    assert (one.reasons[0].code, one.last_evaluated_at) == ("never_evaluated", NOW - timedelta(days=20))
    assert reasons(days=30) == {"new-parser": ["one_variant"]}


def test_exposures_are_counted_by_variant_and_client():
    make_route()
    see("invoice-extraction", "gpt-4.1", count=3)
    see("invoice-extraction", "gpt-4.1", count=4, client="mail")
    see("invoice-extraction", "gpt-4.1", count=5, client="")
    see("invoice-extraction", "gpt-4.1", count=6)

    found = [(one.client, one.count) for one in queries.exposures("production", "invoice-extraction")]

    assert found == [("", 5), ("invoices", 9), ("mail", 4)]


def test_a_client_says_how_many_snapshots_it_is_behind():
    make_route()
    see("invoice-extraction", "gpt-4.1")
    make_flag()
    services.switch_off(**SAID, key="new-parser")

    (client,) = queries.clients("production")

    assert (client.snapshot, client.behind) == (1, 2)
