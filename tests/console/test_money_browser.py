"""Budgets, alerts, sources and protection in a real Chromium, against the real web process."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone

from apps.alerts.models import Alert, Delivery
from apps.budgets.models import Budget
from apps.console.months import month_of
from apps.telemetry.models import Heard, Mapping, Unassigned
from tests.browser import opened, wait_for_charts
from tests.console.make_money import KEY, alert_of, money, morning

DESK = {"width": 1440, "height": 900}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
STRAY = "invoice-worker: gpt-4.1"


@pytest.fixture
def story(server, environment, alice):
    now = timezone.now()
    budget = money(now)
    morning(now)
    Unassigned.objects.create(
        environment="production", name=STRAY, service="invoice-worker", model="gpt-4.1", calls=100,
        first_at=now, last_at=now,
    )  # fmt: skip
    hour = now.replace(minute=0, second=0, microsecond=0)
    for what, n in (("calls", 900), ("by:flag", 800), ("by:unassigned", 100), ("rejected:too_old", 7)):
        Heard.objects.create(
            environment="production", service="invoice-worker", source="span", what=what, hour=hour, n=n
        )
    return budget


def paths(budget):
    return [
        "/budgets/",
        f"/budgets/{budget.id}/",
        f"/budgets/{budget.id}/?month={month_of(timezone.now()).before.key}",
        f"/budgets/{budget.id}/edit/",
        "/budgets/new/",
        "/alerts/",
        f"/alerts/?silence={alert_of(KEY).id}",
        f"/silences/?preview=1&route={KEY}",
        "/channels/",
        "/sources/?map=invoice-worker%3A+gpt-4.1",
        "/protection/",
    ]


@pytest.mark.parametrize("options", [{"viewport": DESK, "color_scheme": "light"}, {**PHONE, "color_scheme": "dark"}])
def test_every_page_is_clean_accessible_and_no_wider_than_its_screen(options, chromium, server, alice, story):
    page = opened(chromium, server, alice, "/budgets/", **options)
    for path in paths(story):
        page.goto(server.url + path)
        wait_for_charts(page)

        found = Axe().run(page)

        assert found.violations_count == 0, f"{path} {found.generate_report()}"
        assert page.evaluate("() => document.documentElement.scrollWidth") <= options["viewport"]["width"], path
    assert page.wrongs == []
    page.context.close()


def test_a_silence_of_eight_hours_in_the_row_takes_no_reload(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/alerts/", viewport=DESK)
    page.evaluate("() => { window.sameDocument = true; }")
    alert = alert_of(KEY)
    row = page.locator(f"#alert-{alert.id}")

    row.get_by_role("link", name="Silence").click()
    page.wait_for_selector(f"#alert-{alert.id} .open-line")
    row.get_by_label("Why").fill("known, GPT-5 is off")
    row.get_by_role("link", name="8 h").click()
    page.wait_for_selector(f"#alert-{alert.id} [aria-current]:has-text('8 h')")
    button = row.get_by_role("button", name="Silence until")
    said = button.inner_text()
    why = row.get_by_label("Why").input_value()
    button.click()
    page.wait_for_selector("text=/Silenced until/")

    alert.refresh_from_db()
    assert why == "known, GPT-5 is off"
    assert alert.state == "silenced"
    assert f"{alert.silenced_until:%H:%M}" in said
    assert page.evaluate("() => window.sameDocument") is True
    assert page.wrongs == []
    page.context.close()


def test_acknowledge_is_one_press_and_a_test_says_what_the_receiver_answered(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/alerts/", viewport=DESK)

    page.locator(f"#alert-{alert_of(KEY).id}").get_by_role("button", name="Acknowledge").click()
    page.wait_for_selector("text=No traffic was moved.")
    page.locator("#channels tr:has-text('E-mail')").get_by_role("button", name="Test").click()
    page.wait_for_selector("#channels [data-result]")

    assert alert_of(KEY).acknowledged_by == "alice"
    assert "Taken" in page.locator("#channels [data-result]").inner_text()
    page.context.close()


def test_a_budget_is_edited_in_a_draft_that_is_reviewed(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/budgets/{story.id}/", viewport=DESK)
    page.wait_for_selector("#burn .plot canvas")

    page.get_by_role("link", name="Edit", exact=True).first.click()
    page.get_by_label("What may be spent").fill("24000")
    page.get_by_role("button", name="Review change").click()
    told = page.locator(".draft-bar").inner_text()
    kept = Budget.objects.get(pk=story.id).limit_nano
    page.get_by_role("button", name="Save the change").click()
    page.wait_for_url(f"**/budgets/{story.id}/")

    assert "$22,000" in told and "$24,000" in told
    assert kept == 22_000 * 10**9
    assert Budget.objects.get(pk=story.id).limit_nano == 24_000 * 10**9
    assert page.wrongs == []
    page.context.close()


def test_without_a_script_calls_are_mapped_and_an_alert_is_silenced(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/sources/", java_script_enabled=False)

    page.get_by_role("link", name="Map to a route").click()
    page.get_by_role("button", name="Map them").click()
    page.goto(f"{server.url}/alerts/")
    row = page.locator(f"#alert-{alert_of(KEY).id}")
    row.get_by_role("link", name="Silence").click()
    row.get_by_role("button", name="Silence until").click()

    assert Mapping.objects.get().route == KEY
    assert Alert.objects.get(route=KEY, condition=f"rollout:{KEY}").state == "silenced"
    page.context.close()


def test_a_failing_delivery_is_sent_again_from_the_top_of_the_page(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/alerts/", **PHONE)
    stuck = Delivery.objects.failing().get()

    page.locator("#failing").get_by_role("button", name="Try now").tap()
    page.wait_for_selector("text=It leaves now")

    stuck.refresh_from_db()
    assert stuck.attempts == 0
    assert page.wrongs == []
    page.context.close()
