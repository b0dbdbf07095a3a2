import re
from datetime import timedelta

import pytest
import time_machine
from django.urls import reverse

from apps.access.models import Environment
from apps.console.presenters import measured
from apps.rollouts import services as rollouts
from tests.rollouts.make_rollouts import make_route, see_traffic, start_rollout

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def rolled_back(environment, now):
    """A rollout that was rolled back by the machine; its decision."""
    rollout = start_rollout(now)
    see_traffic(now + 5 * SECOND, n=400, variant="gpt-4.1", latency_ms=420)
    see_traffic(now + 5 * SECOND, n=80, variant="gpt-5", latency_ms=4300)
    rollouts.tick(now=now + 5 * SECOND)
    return rollout.decisions.get(kind="roll_back")


@pytest.fixture
def addresses(rolled_back):
    return {
        "now": reverse("now"),
        "routes": reverse("routes"),
        "route": reverse("route", args=["invoice-extraction"]),
        "decision": reverse("decision", args=[rolled_back.id]),
        "journal": reverse("journal"),
        "alerts": reverse("alerts"),
        "budgets": reverse("budgets"),
    }


PAGES = ["now", "routes", "route", "decision", "journal", "alerts", "budgets"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_operator_and_viewer_see_every_page(page, who, addresses, client, request):
    client.force_login(request.getfixturevalue(who))

    answer = client.get(addresses[page])

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_sees_nothing(page, addresses, client, charlie):
    client.force_login(charlie)

    answer = client.get(addresses[page])

    assert answer.status_code in (403, 404)
    assert "invoice-extraction" not in answer.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_who_is_not_logged_in_is_sent_to_the_login_and_back(page, addresses, client):
    answer = client.get(addresses[page])

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("login"))
    assert "next=" in answer["Location"]


def test_the_log_in_returns_to_the_page_that_was_asked_for(rolled_back, client, alice):
    path = reverse("decision", args=[rolled_back.id])

    answer = client.post(
        f"{reverse('login')}?next={path}",
        {"username": "alice", "password": "correct horse battery", "next": path},
    )

    assert answer["Location"] == path


def test_the_board_says_what_was_rolled_back(addresses, client, alice, rolled_back):
    client.force_login(alice)

    text = client.get(addresses["now"]).content.decode()

    assert "invoice-extraction" in text
    assert "limit" in text


def test_the_decision_is_one_sentence_with_its_figures_strong(addresses, client, bob):
    client.force_login(bob)

    text = client.get(addresses["decision"]).content.decode()

    assert "<strong>Rolled back</strong> invoice-extraction from <strong>10\u00a0% to 0\u00a0%" in text
    assert "All traffic is on" in text
    assert "Recomputed from stored evidence: same verdict." in text


def test_reading_a_decision_five_times_changes_nothing(addresses, client, alice, rolled_back):
    client.force_login(alice)
    rolled_back.rollout.refresh_from_db()
    before = (rolled_back.rollout.state, Environment.objects.get().snapshot_version)

    for _ in range(5):
        client.get(addresses["decision"])
        client.get(reverse("act", args=["invoice-extraction", "roll-back"]))

    rolled_back.rollout.refresh_from_db()
    assert (rolled_back.rollout.state, Environment.objects.get().snapshot_version) == before


def test_a_route_that_is_not_there_is_not_found(environment, client, alice):
    client.force_login(alice)

    assert client.get(reverse("route", args=["nobody-made-this"])).status_code == 404
    assert client.get(reverse("decision", args=["nothing"])).status_code == 404


def test_an_empty_environment_offers_the_first_call(environment, client, alice):
    client.force_login(alice)

    assert "No routes yet" in client.get(reverse("now")).content.decode()


def test_a_route_without_a_rollout_is_steady(environment, now, client, alice):
    make_route(now)
    client.force_login(alice)

    text = client.get(reverse("route", args=["invoice-extraction"])).content.decode()

    assert "Steady" in text
    assert "No rollout was ever started here." in text


def test_a_finished_rollout_still_shows_both_arms_and_what_they_measured(environment, now, client, bob):
    rollout = start_rollout(now, stages=[{"share": 100, "min_seconds": 0, "min_samples": 10}], guardrails=[])
    see_traffic(now - 60 * SECOND, n=50, variant="gpt-4.1", latency_ms=420, assigned_by="default")
    see_traffic(now + 5 * SECOND, n=50, variant="gpt-5", latency_ms=210)
    rollouts.tick(now=now + 5 * SECOND)
    rollout.refresh_from_db()

    with time_machine.travel(now + 60 * SECOND, tick=False):
        client.force_login(bob)
        text = client.get(reverse("route", args=["invoice-extraction"])).content.decode()

    assert rollout.state == "finished"
    assert "Before and after" in text
    table = text.partition('id="before-after"')[2].partition("</section>")[0]
    assert ", GPT-4.1" in table and ", GPT-5" in table
    assert re.search(r"\N{MINUS SIGN}(49|50|51)", table)  # the median halves, within a cell of the histogram
    charts = text.partition('id="by-variant"')[2].partition("</section>")[0]
    assert "GPT-4.1" in charts and "GPT-5" in charts
    rows = charts.partition("figures-rows")[2].partition("<tbody>")[2].split("<tr>")[1:]
    told = [dict(re.findall(r'data-name="([^"]+)">\s*([^<]*?)\s*<', row)) for row in rows]
    assert [row["requests"] for row in told] == ["50", "50"]
    assert all(row["p50"] <= row["p95"] <= row["p99"] and row["p99"].endswith("s") for row in told)
    assert all(row["errors"] and row["attempts"] == "1.00" for row in told)


def test_the_journal_shows_the_difference_field_by_field(addresses, client, bob):
    client.force_login(bob)

    text = client.get(addresses["journal"], {"kind": "rollout"}).content.decode()

    assert "rollout rolled back" in text
    assert "<del>" in text


def test_the_page_names_no_style_and_no_script_of_its_own(addresses, client, alice):
    """Under `default-src 'self'` both would be refused."""
    client.force_login(alice)

    for path in addresses.values():
        text = client.get(path).content.decode()
        assert ' style="' not in text
        assert "<style" not in text
        assert not [
            part
            for part in text.split("<script")[1:]
            if "src=" not in part[:200] and "application/json" not in part[:200]
        ]


def test_the_decision_page_stays_light(addresses, client, alice):
    client.force_login(alice)

    answer = client.get(addresses["decision"], headers={"Accept-Encoding": "gzip"})

    assert answer["Content-Encoding"] == "gzip"
    assert len(answer.content) < 30_000


def test_the_theme_is_a_cookie_and_no_script(environment, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("choose-theme"), {"theme": "dark", "next": "//elsewhere.example/"})

    assert answer["Location"] == reverse("now")
    assert 'data-theme="dark"' in client.get(reverse("now")).content.decode()


def test_the_environment_is_kept_until_another_is_chosen(environment, now, client, alice):
    Environment.objects.create(key="staging", name="Staging", created_at=now)
    client.force_login(alice)

    client.post(reverse("choose-environment"), {"environment": "staging"})

    assert 'class="env-word is-other"' in client.get(reverse("now")).content.decode()


def test_nobody_chooses_an_environment_that_they_may_not_see(environment, client, charlie):
    client.force_login(charlie)

    assert client.post(reverse("choose-environment"), {"environment": "production"}).status_code == 404


def test_the_parts_are_for_development_only(environment, client, alice, settings):
    client.force_login(alice)
    hidden = client.get(reverse("parts")).status_code

    settings.DEBUG = True

    assert (hidden, client.get(reverse("parts")).status_code) == (404, 200)


def test_shares_are_compared_in_points_and_the_rest_in_percent_or_times():
    assert measured.points(0.0001, 0.71).replace("\u00a0", " ") == "+71.0 points"
    assert measured.change(18.0, 81.0).replace("\u00a0", " ") == "+350 %"
    assert measured.change(14.7, 942.9).replace("\u00a0", " ") == "64.1 times"
    assert measured.change(0.0, 3.0) == ""
