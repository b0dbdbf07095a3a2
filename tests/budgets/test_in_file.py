"""Budgets in an environment's file: written, put into effect, and left alone where the file says nothing of them."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.budgets import services
from apps.budgets.models import Budget
from apps.core.actors import person
from apps.flags import environment_file
from apps.journal.models import Entry
from tests.flags.make_flags import make_flag

pytestmark = pytest.mark.django_db
HERE = "production"
SAID = {"by": person("alice"), "because": "to see"}
DAY = {"scope": {"route": "invoices"}, "period": "day", "limit_nano": 50_000_000_000, "name": "Invoices"}


@pytest.fixture
def budget(environment, now):
    thresholds = [{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "fall_back"}]
    return services.create_budget(environment=HERE, thresholds=thresholds, now=now, **DAY, **SAID)


def export():
    return environment_file.export(HERE)


def apply(text, now, **more):
    return environment_file.apply(environment=HERE, text=text, now=now, **SAID, **more)


def steps(plan):
    return [(step.action, step.key) for step in plan.steps if step.kind == "budget"]


def test_what_is_exported_changes_nothing_when_it_is_applied(budget, now):
    services.create_budget(
        environment=HERE,
        scope={},
        period="month",
        limit_nano=1_234_567_891,
        thresholds=[],
        is_hard=True,
        now=now,
        **SAID,
    )
    before = list(Budget.objects.values())

    plan = apply(export(), now)

    assert plan.is_empty
    assert list(Budget.objects.values()) == before
    assert "limit_usd: '50.00'" in export() and "'1.234567891'" in export()


def test_a_changed_limit_is_one_line_of_the_plan_and_one_revision(budget, now):
    text = export().replace("'50.00'", "'75.00'")

    dry = apply(text, now, dry_run=True)
    kept = Budget.objects.get().limit_nano
    plan = apply(text, now)

    (step,) = (step for step in plan.steps if step.kind == "budget")
    assert step.changes == {"limit_usd": {"was": "50.00", "is": "75.00"}}
    assert (steps(dry), kept) == (steps(plan), DAY["limit_nano"])
    row = Budget.objects.get()
    assert (row.pk, row.limit_nano, row.revision) == (budget.pk, 75_000_000_000, 2)
    assert Entry.objects.filter(kind="budget.changed").count() == 1


def test_one_that_is_not_there_is_made_and_one_not_in_the_file_is_ended_when_asked(budget, now):
    text = f"environment: {HERE}\nbudgets:\n- {{scope: {{}}, period: month, limit_usd: 900}}\n"

    first = apply(text, now)
    pruned = apply(text, now, prune=True)

    assert steps(first) == [("leave", "Invoices"), ("add", "everything a month")]
    assert steps(pruned) == [("delete", "Invoices")]
    assert [row.period for row in Budget.objects.in_force()] == ["month"]


def test_a_file_without_budgets_leaves_them_alone(budget, now):
    make_flag()
    text = export().split("budgets:")[0]

    assert steps(apply(text, now, prune=True)) == []
    assert Budget.objects.in_force().count() == 1


@pytest.mark.parametrize(
    ("budgets", "sentence"),
    [
        ("{a: 1}", "budgets is a list"),
        ("[{period: day}]", "Budget 1: limit_usd"),
        ("[{period: day, limit_usd: 5, colour: red}]", "Budget 1 has no colour"),
        ("[{period: day, limit_usd: 5, scope: {moon: full}}]", "moon is no scope"),
    ],
)
def test_a_budget_that_cannot_stand_refuses_the_whole_file(budgets, sentence, environment, now, tmp_path):
    file = tmp_path / "environment.yaml"
    file.write_text(f"environment: {HERE}\nflags:\n  a: {{type: boolean, variants: {{x: true}}}}\nbudgets: {budgets}\n")

    with pytest.raises(CommandError, match=sentence):
        call_command("apply", file=str(file))
    assert Entry.objects.count() == 0


def test_an_exit_code_tells_a_pipeline_whether_anything_would_change(budget, tmp_path):
    file = tmp_path / "environment.yaml"
    file.write_text(export())
    asked = {"file": str(file), "dry_run": True, "exit_code": True, "stdout": StringIO()}

    call_command("apply", **asked)
    file.write_text(export().replace("'50.00'", "'60.00'"))
    with pytest.raises(SystemExit) as exit:
        call_command("apply", **asked)

    assert exit.value.code == 2
    assert Budget.objects.get().limit_nano == DAY["limit_nano"]
