"""In a real Chromium, against the real web process: nothing may be logged, refused by the policy, or found by axe."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from django.utils import timezone

from apps.alerts import services as alerts
from apps.budgets import services as budgets
from apps.core.actors import person
from apps.rollouts import services as rollouts
from apps.rollouts.models import Decision, Rollout
from tests.browser import collect_wrongs, log_in, opened, wait_for_charts
from tests.rollouts.make_rollouts import make_rollout, make_route, see_client, see_traffic, weights

KEY = "invoice-extraction"
TOM = person("tom")


@pytest.fixture
def story(server, environment, alice):
    """invoice-extraction ramps at 10 %; claim-triage was rolled back by the machine a minute ago."""
    now = timezone.now()
    begin = now - timedelta(minutes=12)
    for key in (KEY, "claim-triage"):
        make_route(begin, key=key)
        rollout = make_rollout(begin, route=key)
        rollouts.start(rollout=rollout, by=TOM, because="planned", now=begin)
    for minute in range(1, 11):
        at = begin + timedelta(minutes=minute)
        for key in (KEY, "claim-triage"):
            see_traffic(at, n=30, variant="gpt-4.1", latency_ms=420 + 7 * minute, route=key)
            see_traffic(at, n=4, variant="gpt-5", latency_ms=510 - 5 * minute, route=key)
        see_client(at)
    budgets.create_budget(
        environment="production",
        scope={"route": KEY},
        period="month",
        limit_nano=10**9,
        thresholds=[{"at": 0.8, "do": "alert"}],
        by=TOM,
        because="test",
        now=begin,
    )
    at = now - timedelta(minutes=1)
    see_traffic(at, n=200, variant="gpt-4.1", latency_ms=430, route="claim-triage")
    see_traffic(at, n=80, variant="gpt-5", latency_ms=4300, route="claim-triage")
    rollouts.tick(now=at)
    rollouts.tick(now=now)
    alerts.read_journal(now)
    return Decision.objects.get(kind="roll_back")


def pages(decision):
    return ["/", f"/routes/{KEY}/", f"/d/{decision.id}", "/activity/", "/alerts/", "/budgets/", "/routes/"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_clean_and_accessible(theme, chromium, server, alice, story):
    page = opened(chromium, server, alice, "/", color_scheme=theme, viewport={"width": 1440, "height": 900})
    for path in pages(story):
        page.goto(server.url + path)
        page.wait_for_selector("[data-live-state][data-state=live]")

        found = Axe().run(page)

        assert found.violations_count == 0, f"{path} {found.generate_report()}"
    assert page.wrongs == []
    page.context.close()


def test_a_phone_never_scrolls_sideways(chromium, server, alice, story):
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    page = opened(chromium, server, alice, "/", **phone)
    for path in pages(story):
        page.goto(server.url + path)
        page.wait_for_load_state("load")

        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate("() => document.fonts.size === 0 || [...document.fonts].every(f => f.status !== 'loaded')")
    assert page.wrongs == []
    page.context.close()


def test_a_rollback_in_two_presses_shows_itself_without_a_reload(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/routes/{KEY}/", viewport={"width": 1440, "height": 900})
    page.wait_for_selector("[data-live-state][data-state=live]")
    page.evaluate("() => { window.sameDocument = true; }")

    page.get_by_role("button", name="Roll back to GPT-4.1").click()
    page.wait_for_selector("[data-confirm]")
    focused = page.evaluate("() => document.activeElement.textContent.trim()")
    page.get_by_role("button", name="Yes, send 100").click()

    page.wait_for_selector("text=/Done, snapshot \\d+/")
    page.wait_for_selector("#route-head >> text=Rolled back")
    assert focused.startswith("Keep 10")
    assert page.evaluate("() => window.sameDocument") is True
    assert weights(KEY) == {"gpt-4.1": 10_000}
    assert page.wrongs == []
    page.context.close()


def test_enter_keeps_and_control_enter_sends(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/routes/{KEY}/", viewport={"width": 1440, "height": 900})
    first = page.get_by_role("button", name="Roll back to GPT-4.1")

    first.click()
    page.wait_for_selector("[data-confirm]")
    page.keyboard.press("Tab")  # onto "Yes"
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-confirm]", state="detached")
    kept = weights(KEY)
    first.click()
    page.wait_for_selector("[data-confirm]:not(.htmx-added)")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=/Done, snapshot \\d+/")

    assert kept == {"gpt-4.1": 9000, "gpt-5": 1000}
    assert weights(KEY) == {"gpt-4.1": 10_000}
    page.context.close()


NO_POLLING = """
const every = window.setInterval;
window.setInterval = (act, ms, ...more) => (ms < 5000 ? every(act, ms, ...more) : 0);
"""


def test_what_another_person_does_arrives_by_the_stream(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/routes/", viewport={"width": 1440, "height": 900})
    page.add_init_script(NO_POLLING)
    page.goto(server.url + "/")
    page.wait_for_selector("[data-live-state][data-state=live]")
    rollout = Rollout.objects.live().get(route=KEY)

    rollouts.pause(rollout=rollout, by=TOM, because="look at this first", now=timezone.now())

    page.wait_for_selector(f"#row-{KEY} >> text=Paused")
    assert page.wrongs == []
    page.context.close()


def test_acknowledge_from_the_alert_s_link_on_a_phone(chromium, server, alice, story):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = opened(chromium, server, alice, f"/d/{story.id}", **phone)

    heading = page.locator("h1").bounding_box()
    button = page.get_by_role("button", name="Acknowledge")
    place = button.bounding_box()
    button.tap()

    page.wait_for_selector("text=No traffic was moved.")
    assert heading["y"] + heading["height"] < 844
    assert 422 < place["y"] < 844 and place["height"] >= 44  # in the thumb's half
    assert page.wrongs == []
    page.context.close()


def test_it_works_without_a_script(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/routes/{KEY}/", java_script_enabled=False)

    page.get_by_role("button", name="Roll back to GPT-4.1").click()
    page.get_by_role("button", name="Yes, send 100").click()

    assert page.url.startswith(f"{server.url}/routes/{KEY}/")
    assert weights(KEY) == {"gpt-4.1": 10_000}
    page.context.close()


def test_a_phone_gets_the_decision_in_sixty_kilobytes(chromium, server, alice, story):
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}
    page = opened(chromium, server, alice, "/activity/", **phone)
    page.context.clear_cookies()
    log_in(page, server.url, alice)
    talk = page.context.new_cdp_session(page)
    talk.send("Network.enable")
    talk.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    talk.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))

    page.add_init_script("window.fetch = () => new Promise(() => {})")  # that it is kept fresh later does not count

    page.goto(f"{server.url}/d/{story.id}")
    page.wait_for_selector("[data-live-state][data-state=live]", state="attached")

    assert 10_000 < sum(sizes) <= 60_000, sizes
    page.context.close()


def test_the_log_in_page_is_clean(page, server, environment, alice):
    collect_wrongs(page)
    page.goto(server.url + reverse("now"))

    page.fill("#id_username", "alice")
    page.fill("#id_password", "correct horse battery")
    found = Axe().run(page)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("h1:has-text('Now'), h2:has-text('No routes yet')")

    assert found.violations_count == 0, found.generate_report()
    assert page.wrongs == []


def test_a_lost_stream_says_how_old_the_page_is_and_acts_still_work(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/", viewport={"width": 1440, "height": 900})
    page.route("**/live", lambda route: route.abort())
    page.goto(f"{server.url}/routes/{KEY}/")

    page.wait_for_selector("text=/You see \\d\\d:\\d\\d:\\d\\d, \\d+ s ago. Trying again in/")
    page.get_by_role("button", name="Pause at 10").click()

    page.wait_for_selector("text=Nothing advances until you resume.")
    page.context.close()


def test_charts_are_drawn_again_for_another_width_and_another_theme(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/d/{story.id}", viewport={"width": 1440, "height": 900})
    page.wait_for_selector("#measure .plot canvas")
    wide = page.locator("#measure .plot canvas").first.bounding_box()["width"]

    page.set_viewport_size({"width": 900, "height": 900})
    page.emulate_media(color_scheme="dark")

    page.wait_for_function(f"() => document.querySelector('#measure .plot canvas')?.clientWidth < {wide}")
    wait_for_charts(page)
    assert page.locator("#measure .plot canvas").count() == page.locator("#measure figure").count()
    assert page.wrongs == []
    page.context.close()
