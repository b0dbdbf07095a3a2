"""The flag pages in a real Chromium, against the real web process."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone

from apps.flags import queries
from apps.flags.models import ChangeRequest
from tests.browser import log_in, opened
from tests.console.make_flags import make_story

WIDE = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
KEY = "new-parser"
PAGES = [
    "/flags/", "/flags/?show=stale", f"/flags/{KEY}/", "/flags/invoice-extraction/", f"/flags/{KEY}/rules/2/",
    f"/flags/{KEY}/rules/0/", f"/flags/{KEY}/edit/weights/", "/flags/invoice-extraction/edit/variants/",
    "/flags/invoice-extraction/edit/about/", f"/flags/{KEY}/edit/prerequisites/", f"/flags/{KEY}/edit/logic/",
    f"/flags/{KEY}/versions/", f"/flags/{KEY}/versions/1/revert/", "/audiences/", "/audiences/staff/", "/audiences/-/",
    "/audiences/staff/versions/", "/flags/-/", "/flags/-/fall-back/", f"/flags/{KEY}/keep/rename/",
    "/changes/", "/clients/", "/tester/", f"/tester/?flag={KEY}", "/tester/?flag=invoice-extraction",
]  # fmt: skip


@pytest.fixture
def story(server, environment, alice):
    make_story(timezone.now())


def draft_a_rule(page, url):
    page.goto(f"{url}/flags/{KEY}/")
    page.get_by_role("link", name="Add a rule").click()
    page.get_by_label("Name").fill("Germans")
    page.get_by_label("Attribute 1").fill("country")
    page.get_by_label("Comparison 1").select_option("is_one_of")
    page.get_by_label("Values 1").fill("DE, AT")
    page.get_by_role("button", name="Keep in draft").click()
    page.get_by_text("1 change drafted. Nothing is live yet.").wait_for()
    page.get_by_role("link", name="Review change").click()


CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}  # nothing else hangs on the theme


@pytest.mark.parametrize(("theme", "options"), [("light", None), ("dark", CONTRAST)])
def test_every_page_is_clean_and_accessible(theme, options, chromium, server, alice, story):
    page = opened(chromium, server, alice, "/flags/", color_scheme=theme, **WIDE)
    for path in PAGES:
        page.goto(server.url + path)
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, f"{path} {found.generate_report()}"
    draft_a_rule(page, server.url)
    found = Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()
    assert page.wrongs == []
    page.context.close()


def test_a_phone_never_scrolls_sideways(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/flags/", color_scheme="dark", **PHONE)
    for path in PAGES:
        page.goto(server.url + path)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
    draft_a_rule(page, server.url)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.wrongs == []
    page.context.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_rule_is_edited_reviewed_and_saved(script, chromium, server, alice, story):
    page = opened(chromium, server, alice, "/flags/", java_script_enabled=script, **WIDE)

    draft_a_rule(page, server.url)
    page.get_by_label("Why").fill("Germany and Austria go live")
    page.get_by_role("button", name="Yes, save").click()

    page.get_by_text("Done, snapshot").wait_for()
    assert queries.flag("production", KEY).conditions[-1] == "Germans: country is one of DE, AT → on"
    assert page.wrongs == []
    page.context.close()


def test_shares_are_previewed_before_they_move_anybody(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/flags/{KEY}/edit/weights/", **WIDE)

    page.get_by_label("on", exact=True).fill("40")
    page.get_by_label("off").fill("60")
    page.get_by_role("button", name="Show who would move").click()
    page.get_by_text("Of 40 subjects seen in the last day").wait_for()
    before = queries.flag("production", KEY).weights["on"]
    page.get_by_role("button", name="Keep in draft").click()
    page.get_by_role("link", name="Review change").click()
    page.get_by_label("Why").fill("More")
    page.get_by_role("button", name="Yes, save and move 15").click()

    page.get_by_text("Done, snapshot").wait_for()
    assert (before, queries.flag("production", KEY).weights["on"]) == (2500, 4000)
    assert page.wrongs == []
    page.context.close()


def test_the_kill_switch_is_armed_in_place_and_enter_keeps(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/flags/{KEY}/", **WIDE)

    page.get_by_role("button", name="Switch off").click()
    page.wait_for_selector("[data-confirm]:not(.htmx-added)")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-confirm]", state="detached")
    kept = queries.flag("production", KEY).switch
    page.get_by_role("button", name="Switch off").click()
    page.get_by_role("button", name="Yes, switch new-parser off").click()

    page.get_by_text("Switched off, snapshot").wait_for()
    page.wait_for_selector("#serves >> text=Switched off: callers get the default in their code.")
    assert (kept, queries.flag("production", KEY).switch) == ("", "off")
    assert page.wrongs == []
    page.context.close()


def test_a_revert_takes_two_presses(chromium, server, alice, story):
    page = opened(chromium, server, alice, f"/flags/{KEY}/rules/1/", **WIDE)
    page.get_by_label("They get").select_option("off")
    page.get_by_role("button", name="Keep in draft").click()
    page.get_by_role("link", name="Review change").click()
    page.get_by_label("Why").fill("Oops")
    page.get_by_role("button", name="Yes, save").click()

    page.get_by_role("link", name="All, compare, revert").click()
    page.get_by_role("link", name="Revert to this").first.click()
    page.get_by_label("Why").fill("It was right before")
    page.get_by_role("button", name="Yes, revert to 2").click()

    page.get_by_text("Done, snapshot").wait_for()
    assert queries.flag("production", KEY).rules[0]["variant"] == "on"
    assert page.wrongs == []
    page.context.close()


def test_a_change_passes_under_four_eyes(chromium, server, alice, dora, story, environment):
    environment.is_protected = True
    environment.save()
    page = opened(chromium, server, alice, "/flags/", **WIDE)
    draft_a_rule(page, server.url)
    page.get_by_label("Why").fill("Germany goes live")
    page.get_by_role("button", name="Ask for approval").click()
    page.get_by_text("You wrote this: it waits for dora.").wait_for()
    untouched = len(queries.flag("production", KEY).rules)

    log_in(page, server.url, dora)
    page.goto(f"{server.url}/changes/")
    page.get_by_role("link", name=f"Change {KEY}").click()
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Apply now").click()
    page.get_by_role("button", name="Yes, apply it").click()
    page.get_by_text("Applied as snapshot").wait_for()

    assert (untouched, len(queries.flag("production", KEY).rules)) == (2, 3)
    assert ChangeRequest.objects.get().decided_by == "dora"
    assert page.wrongs == []
    page.context.close()


def test_control_enter_runs_the_tester(chromium, server, alice, story):
    page = opened(chromium, server, alice, "/tester/", **WIDE)

    page.get_by_label("Flag").select_option(KEY)
    page.get_by_label("Context").fill("targetingKey=u-1\nmail=a@example.com")
    page.keyboard.press("Control+Enter")

    page.get_by_text("A rule answered on.").wait_for()
    assert page.get_by_text("Not reached").count() == 1
    assert page.wrongs == []
    page.context.close()
