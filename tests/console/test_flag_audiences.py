"""The pages of audiences: named, changed; their versions, compared and reverted to in two presses."""

import pytest
from django.utils import timezone

from apps.flags import audiences, queries
from apps.flags.models import ChangeRequest
from tests.console.flag_pages import HERE, KEY, address, body, rule_form
from tests.console.make_flags import TOM

pytestmark = pytest.mark.django_db


@pytest.fixture
def changed(story):
    """Tom has changed who belongs to it."""
    conditions = {"all": [{"attribute": "targetingKey", "operator": "starts_with", "values": ["on-user-1"]}]}
    audiences.change_audience(
        environment=HERE, key="staff", conditions=conditions, by=TOM, because="Try a few", now=timezone.now()
    )


def revert(client, **data):
    return client.post(address("audience-revert", "staff", 1), {"because": "It was right"} | data)


def test_an_audience_is_named_and_changed_in_one_version(story, client, alice):
    client.force_login(alice)
    form = {"kind-0": "any", "attribute-0": "mail", "operator-0": "ends_with", "values-0": "@example.org", "do": "save"}

    client.post(address("audience", "-"), form | {"name": "friends"})
    client.post(address("audience", "staff"), form | {"because": "moved", "revision": "1"})

    assert queries.audience(HERE, "friends").words == "mail ends with @example.org"
    assert "@example.org" in str(queries.flag(HERE, KEY).targeting)


def test_a_stale_audience_is_not_overwritten(story, client, alice):
    client.force_login(alice)
    form = {"kind-0": "all", "attribute-0": "a", "operator-0": "is_set", "values-0": "", "do": "save", "because": "x"}
    client.post(address("audience", "staff"), form | {"revision": "1"})

    answer = client.post(address("audience", "staff"), form | {"attribute-0": "b", "revision": "1"})

    assert answer.status_code == 400
    assert "alice changed this audience since you looked" in body(answer)


def test_a_change_of_an_audience_says_who_would_move(story, client, alice):
    client.force_login(alice)
    form = rule_form(do="preview", **{"attribute-0": "targetingKey", "values-0": "off-user-1"})

    text = body(client.post(address("audience", "staff"), form))

    assert "<strong>new-parser</strong>: Of 40 subjects seen in the last day" in text
    assert queries.audience(HERE, "staff").conditions["all"][0]["attribute"] == "mail"


def test_versions_are_listed_and_compared(changed, client, bob):
    client.force_login(bob)

    text = body(client.get(address("audience-versions", "staff")))

    assert "From revision 1 to 2" in text and "Try a few" in text
    assert "mail ends with @example.com" in text and "targetingKey starts with on-user-1" in text
    assert "Revert to this" not in text


def test_a_revert_says_first_who_would_move(changed, client, alice):
    client.force_login(alice)

    text = body(client.get(address("audience-revert", "staff", 1)))
    answer = revert(client, revision="2")

    assert "<strong>new-parser</strong>: Of 40 subjects seen in the last day" in text
    assert answer.status_code == 302
    assert queries.audience(HERE, "staff").conditions["all"][0]["attribute"] == "mail"


def test_an_old_look_and_no_reason_revert_nothing(changed, client, alice):
    client.force_login(alice)

    assert "tom changed staff since you looked." in body(revert(client, revision="1"))
    assert "Say why" in body(revert(client, because=""))
    assert queries.audience(HERE, "staff").revision == 2


def test_under_protection_it_asks_another_person(changed, client, alice, environment):
    environment.is_protected = True
    environment.save()
    client.force_login(alice)

    revert(client)

    assert ChangeRequest.objects.get().action == "change_audience"
    assert queries.audience(HERE, "staff").revision == 2


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_viewer_and_stranger_revert_nothing(who, changed, client, request):
    client.force_login(request.getfixturevalue(who))

    assert revert(client).status_code in (403, 404)
    assert queries.audience(HERE, "staff").revision == 2
