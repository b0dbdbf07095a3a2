"""The draft of a budget: reviewed with what it would do at once, saved, in conflict, wrong, kept over a login."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from apps.budgets import services as budgets
from apps.budgets.models import Budget
from apps.core.actors import person
from tests.budgets.make_rows import spend
from tests.console.make_money import make_budget

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def budget(environment):
    return make_budget(NOW - 20 * DAY, 22_000)


def text(answer) -> str:
    return answer.content.decode().replace("\u00a0", " ")


def posted(budget: Budget, **changes: object) -> dict[str, object]:
    ordinary = {
        "limit": "22000",
        "kind": ["at", "forecast", "at"],
        "level": ["80", "100", "100"],
        "do": ["alert", "alert", "fall_back"],
        "share": ["", "", ""],
        "revision": str(budget.revision),
        "press": "review",
    }
    return ordinary | changes


def test_a_review_shows_the_difference_and_changes_nothing(budget, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24,000"))

    (one,) = answer.context["differences"]
    assert (one.name, one.before, one.after) == ("limit", "$22,000", "$24,000")
    assert Budget.objects.get(pk=budget.id).limit_nano == 22_000 * 10**9


def test_a_saved_draft_is_a_new_revision(budget, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24000", press="save"))

    saved = Budget.objects.get(pk=budget.id)
    assert answer.status_code == 302
    assert (saved.limit_nano, saved.revision, saved.changed_by) == (24_000 * 10**9, budget.revision + 1, "alice")


def test_a_draft_on_an_old_revision_says_who_changed_what_and_may_be_applied_on_top(budget, client, alice):
    client.force_login(alice)
    budgets.update_budget(
        budget=budget.id, changes={"limit_nano": 23_000 * 10**9}, by=person("ines"), because="more", now=NOW
    )

    refused = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24000", press="save"))
    on_top = posted(budget, limit="24000", press="save", revision=str(budget.revision + 1))
    applied = client.post(reverse("budget-edit", args=[budget.id]), on_top)

    assert refused.status_code == 409
    assert "ines changed this budget" in text(refused)
    assert applied.status_code == 302
    assert Budget.objects.get(pk=budget.id).limit_nano == 24_000 * 10**9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit": "much"}, "Give an amount above $0."),
        ({"limit": "-5"}, "Give an amount above $0."),
        ({"limit": "NaN"}, "Give an amount above $0."),
        ({"level": ["80", "100", "x"]}, "Line 3 needs a number above 0."),
        ({"do": ["cap_share", "alert", "alert"]}, "Line 1 needs its share in whole percent."),
    ],
)
def test_what_is_wrong_stands_beneath_its_field(changes, words, budget, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, **changes))

    assert answer.status_code == 422
    assert words in text(answer)


def test_a_new_budget_is_set(budget, client, alice):
    client.force_login(alice)
    asked = posted(budget, limit="12.50", scope="owner", scope_value="payments", period="day", press="save")

    answer = client.post(reverse("budget-new"), asked)

    made = Budget.objects.get(scope={"owner": "payments"})
    assert answer["Location"] == reverse("budget", args=[made.id])
    assert (made.limit_nano, made.period) == (12_500_000_000, "day")


def test_what_callers_do_who_cannot_ask_is_chosen_with_a_budget_and_changed_later(budget, client, alice):
    client.force_login(alice)
    asked = posted(budget, scope="owner", scope_value="payments", is_hard="1", press="save")
    client.post(reverse("budget-new"), asked | {"on_unreachable": "open", "at_cap": "cut"})
    made = Budget.objects.get(scope={"owner": "payments"})
    assert (made.on_unreachable, made.at_cap) == ("open", "cut")

    edit = reverse("budget-edit", args=[made.id])
    assert '<option value="open" selected>' in text(client.get(edit))
    changed = posted(made, on_unreachable="closed", at_cap="cut")
    review = text(client.post(edit, changed))
    assert "<del>The call is made, and its spend told later as unverified</del>" in review
    assert "<ins>The call is not made</ins>" in review
    client.post(edit, changed | {"press": "save"})

    made.refresh_from_db()
    assert (made.on_unreachable, made.at_cap) == ("closed", "cut")


def test_a_choice_that_there_is_not_is_refused_beneath_its_field(budget, client, alice):
    client.force_login(alice)

    answer = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, on_unreachable="maybe", press="save"))

    assert answer.status_code == 422
    assert "Use one of open, closed." in text(answer)


def test_a_hard_cap_set_without_a_choice_closes(budget, client, alice):
    client.force_login(alice)
    asked = posted(budget, scope="owner", scope_value="payments", is_hard="1", on_unreachable="", press="save")

    client.post(reverse("budget-new"), asked)

    assert Budget.objects.get(scope={"owner": "payments"}).on_unreachable == "closed"


def test_a_review_says_what_would_happen_at_once(budget, client, alice):
    client.force_login(alice)
    spend(NOW - HOUR, 150.0)

    review = text(client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="100")))

    assert "$150.00 is spent of it already, 150 %. At once: alert at 80 % spent; fall back at 100 % spent." in review
    assert "Save the change" in review
    assert Budget.objects.get(pk=budget.id).limit_nano == 22_000 * 10**9


def test_a_new_budget_is_reviewed_before_it_acts(budget, client, alice):
    client.force_login(alice)
    spend(NOW - HOUR, 150.0)
    asked = posted(budget, limit="100", scope="route", scope_value="invoice-extraction")

    review = text(client.post(reverse("budget-new"), asked))

    assert "At once: alert at 80 % spent; fall back at 100 % spent." in review
    assert "There is a budget of this scope and period already. Both will act." in review
    assert "Set this budget" in review
    assert Budget.objects.count() == 1


def test_a_budget_of_a_route_that_is_not_there_is_told_so(budget, client, alice):
    client.force_login(alice)

    review = text(client.post(reverse("budget-new"), posted(budget, scope_value="invoice-extract")))

    assert "production has no route invoice-extract: this counts nothing until there is one." in review


def test_a_double_tap_sets_one_budget(budget, client, alice):
    client.force_login(alice)
    asked = posted(budget, scope="owner", scope_value="payments", press="save", idempotency_key="one-press")

    answers = [client.post(reverse("budget-new"), asked) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Budget.objects.filter(scope={"owner": "payments"}).count() == 1


def test_a_draft_on_top_of_a_colleagues_touches_only_its_own_fields(budget, client, alice):
    client.force_login(alice)
    theirs = {"thresholds": [{"at": 0.5, "do": "alert"}]}
    budgets.update_budget(budget=budget.id, changes=theirs, by=person("ines"), because="earlier", now=NOW)

    shown = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24000", press="save"))

    assert shown.status_code == 409
    assert [one.after for one in shown.context["conflict"]["changes"]][-1].startswith("alert at 50")
    assert "Your changes do not touch that" in text(shown)
    draft = shown.context["draft"]
    assert (draft.limit, [(line.level, line.do) for line in draft.lines]) == ("24000", [("50", "alert")])
    assert draft.revision == budget.revision + 1


def test_who_changed_the_same_field_is_told(budget, client, alice):
    client.force_login(alice)
    theirs = {"limit_nano": 23_000 * 10**9}
    budgets.update_budget(budget=budget.id, changes=theirs, by=person("ines"), because="more", now=NOW)

    shown = text(client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24000")))

    assert "limit: <del>$22,000</del>" in shown
    assert "<ins>$23,000</ins>" in shown
    assert "You changed the same: limit. Yours would replace it." in shown


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"period": "request", "is_hard": "1"}, "is_hard", "capped by its variant&#x27;s max_cost_usd"),
        ({"period": "eon"}, "period", "Use one of hour"),
        ({"timezone": "Mars/Base"}, "timezone", "Use a name such as Europe/Berlin."),
        ({"name": "n" * 129}, "name", "At most 128 characters."),
        ({"owner": "o" * 129}, "owner", "At most 128 characters."),
        ({"scope_value": "s" * 513}, "scope_value", "At most 512 characters."),
        ({"because": "b" * 501}, "because", "At most 500 characters."),
        ({"kind": ["eon", "at", "at"]}, "thresholds", "Line 1 needs a number above 0."),
        ({"level": ["80", "1e9", "100"]}, "thresholds", "Line 2: "),
    ],
)
def test_each_fault_of_a_new_budget_has_its_field_and_what_was_typed_stays(
    changes, field, words, budget, client, alice
):
    client.force_login(alice)
    asked = posted(budget, limit="12.5", scope_value="claims", because="asked by finance", press="save") | changes

    answer = client.post(reverse("budget-new"), asked)

    shown = text(answer)
    assert answer.status_code == 422
    assert words in shown.split(f'id="{field}-error"')[1].split("</p>")[0]
    assert f'aria-describedby="{field}-error"' in shown
    assert 'value="12.5"' in shown
    assert Budget.objects.count() == 1


def test_all_faults_are_told_together(budget, client, alice):
    client.force_login(alice)

    shown = client.post(reverse("budget-new"), posted(budget, limit="x", timezone="Mars/Base", owner="o" * 129))

    assert set(shown.context["draft"].faults) == {"limit", "timezone", "owner"}


def test_a_revision_that_is_no_number_is_a_conflict(budget, client, alice):
    client.force_login(alice)

    for revision in ("", "\u00b2", "9" * 5000):
        answer = client.post(
            reverse("budget-edit", args=[budget.id]), posted(budget, limit="9", press="save", revision=revision)
        )

        assert answer.status_code == 409


def test_name_owner_and_the_hard_cap_can_be_changed(budget, client, alice):
    client.force_login(alice)
    asked = posted(budget, name="Invoices", owner="finance", is_hard="1", on_unreachable="closed", press="save")

    client.post(reverse("budget-edit", args=[budget.id]), asked)

    budget.refresh_from_db()
    assert (budget.name, budget.owner, budget.is_hard, budget.on_unreachable) == ("Invoices", "finance", True, "closed")


def test_who_is_logged_out_while_typing_finds_the_draft_after_the_login(budget, client, alice):
    url = reverse("budget-edit", args=[budget.id])

    sent_away = client.post(url, posted(budget, limit="24000", because="Black Friday", press="save"))
    wanted = parse_qs(urlsplit(sent_away["Location"]).query)["next"][0]
    client.force_login(alice)
    shown = client.get(wanted)

    assert "Your log-in had ended. What you typed is here; nothing of it was saved." in text(shown)
    assert (shown.context["draft"].limit, shown.context["draft"].because) == ("24000", "Black Friday")
    assert "csrfmiddlewaretoken" not in wanted
    assert Budget.objects.get(pk=budget.id).limit_nano == 22_000 * 10**9


def test_a_budget_is_ended_by_the_second_press_alone(budget, client, alice, bob):
    url = reverse("budget-end", args=[budget.id])
    client.force_login(bob)
    assert client.post(url).status_code == 403
    client.force_login(alice)

    asked = text(client.get(url))
    assert "What will not happen any more: alert at 80 % spent" in asked
    assert Budget.objects.in_force().count() == 1
    answer = client.post(url, {"because": "The route is gone."})

    assert answer["Location"] == reverse("budgets")
    assert not Budget.objects.in_force().exists()


def test_a_draft_that_stood_open_over_a_log_in_elsewhere_comes_back(budget, alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    answer = client.post(reverse("budget-edit", args=[budget.id]), posted(budget, limit="24000", press="save"))
    shown = client.get(answer["Location"])

    assert answer.status_code == 302
    assert shown.context["draft"].limit == "24000"
    assert "nothing of it was saved" in text(shown)
    assert Budget.objects.get(pk=budget.id).limit_nano == 22_000 * 10**9


def test_another_form_that_is_older_than_the_log_in_says_so(budget, alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    answer = client.post(reverse("budget-end", args=[budget.id]))

    assert answer.status_code == 403
    assert "This page is too old to act on. Nothing was done: open it again." in text(answer)
    assert Budget.objects.in_force().count() == 1
