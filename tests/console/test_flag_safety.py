"""Everything to its safe value: every route to its fallback, in two presses, needing no approval."""

import pytest

from apps.core.actors import person
from apps.flags import queries, services
from apps.rollouts.models import Decision
from tests.console.flag_pages import HERE, address, body
from tests.flags.make_flags import NOW, make_route

pytestmark = pytest.mark.django_db
SAID = {"environment": HERE, "by": person("tom"), "because": "x", "now": NOW}


@pytest.fixture
def routes(story):
    make_route("summaries", fallback_variant="flash-lite")
    make_route("no-way-back", fallback_variant="")
    make_route("switched-off")
    services.switch_off(**SAID, key="switched-off")


def test_the_first_press_names_each_route_and_moves_nothing(routes, client, alice):
    client.force_login(alice)

    text = body(client.get(address("fall-back-all")))

    assert "Send 2 routes of production to fallback?" in text
    assert "<strong>no-way-back</strong> has no fallback: it stays as it is" in text
    assert "<strong>switched-off</strong> switched off: it stays off" in text
    assert not queries.route(HERE, "summaries").on_fallback


def test_the_second_press_sends_all_that_can_and_a_third_does_nothing(routes, client, alice, environment):
    environment.is_protected = True
    environment.save()
    client.force_login(alice)

    text = body(client.post(address("fall-back-all")))
    version = queries.newest_version(HERE)
    client.post(address("fall-back-all"))

    assert "2 routes of production fell back." in text and "summaries to flash-lite" in text
    assert all(queries.route(HERE, key).on_fallback for key in ("summaries", "invoice-extraction"))
    assert queries.route(HERE, "switched-off").is_off
    assert Decision.objects.filter(kind="fall_back").count() == 2
    assert queries.newest_version(HERE) == version


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_viewer_and_stranger_send_nothing(who, routes, client, request):
    client.force_login(request.getfixturevalue(who))

    assert client.post(address("fall-back-all")).status_code in (403, 404)
    assert not queries.route(HERE, "summaries").on_fallback
