"""The pages of audiences: their versions, compared and reverted to in two presses."""

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.flags import audiences, queries
from apps.flags.models import ChangeRequest
from tests.console.make_flags import TOM, make_story

pytestmark = pytest.mark.django_db
HERE = "production"


@pytest.fixture
def story(environment):
    make_story(timezone.now())
    conditions = {"all": [{"attribute": "targetingKey", "operator": "starts_with", "values": ["on-user-1"]}]}
    audiences.change_audience(
        environment=HERE, key="staff", conditions=conditions, by=TOM, because="Try a few", now=timezone.now()
    )


def body(answer):
    return answer.content.decode().replace("&nbsp;", " ").replace("\u00a0", " ")


def revert(client, **data):
    return client.post(reverse("audience-revert", args=["staff", 1]), {"because": "It was right"} | data)


def test_versions_are_listed_and_compared(story, client, bob):
    client.force_login(bob)

    text = body(client.get(reverse("audience-versions", args=["staff"])))

    assert "From revision 1 to 2" in text and "Try a few" in text
    assert "mail ends with @example.com" in text and "targetingKey starts with on-user-1" in text
    assert "Revert to this" not in text


def test_a_revert_says_first_who_would_move(story, client, alice):
    client.force_login(alice)

    text = body(client.get(reverse("audience-revert", args=["staff", 1])))
    answer = revert(client, revision="2")

    assert "<strong>new-parser</strong>: Of 40 subjects seen in the last day" in text
    assert answer.status_code == 302
    assert queries.audience(HERE, "staff").conditions["all"][0]["attribute"] == "mail"


def test_an_old_look_and_no_reason_revert_nothing(story, client, alice):
    client.force_login(alice)

    assert "tom changed staff since you looked." in body(revert(client, revision="1"))
    assert "Say why" in body(revert(client, because=""))
    assert queries.audience(HERE, "staff").revision == 2


def test_under_protection_it_asks_another_person(story, client, alice, environment):
    environment.is_protected = True
    environment.save()
    client.force_login(alice)

    revert(client)

    assert ChangeRequest.objects.get().action == "change_audience"
    assert queries.audience(HERE, "staff").revision == 2


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_viewer_and_stranger_revert_nothing(who, story, client, request):
    client.force_login(request.getfixturevalue(who))

    assert revert(client).status_code in (403, 404)
    assert queries.audience(HERE, "staff").revision == 2
