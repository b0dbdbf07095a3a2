"""The form of conditions: rows, groups within, JSON for what is deeper; all without a script."""

import pytest
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.console.presenters import flag_conditions
from apps.core.refusals import Invalid
from apps.flags import queries
from apps.flags.domain import conditions
from tests.console.make_flags import make_story
from tests.flags.make_flags import make_flag

KEY = "new-parser"
PLAN = {"attribute": "plan", "operator": "is_one_of", "values": ["beta", "pro"]}
AGE = {"attribute": "age", "operator": "at_least", "values": [18]}
STAFF = {"audience": "staff"}
NESTED = {"all": [PLAN, {"any": [AGE, STAFF]}, {"none": [{"audience": "staff", "negated": True}]}]}
DEEP = {"all": [PLAN, {"any": [AGE, {"none": [STAFF]}]}]}


def posted(form):
    """What a browser would send of this form."""
    if form.is_raw:
        return {"when": form.raw}
    data = {}
    for group in form.groups:
        data[f"kind-{group.number}"] = group.kind
        for row in group.rows:
            data |= {
                f"attribute-{row.number}": row.attribute, f"operator-{row.number}": row.operator,
                f"values-{row.number}": row.values, f"group-{row.number}": str(group.number),
            }  # fmt: skip
    return data


def press(form, asked):
    return flag_conditions.edited(flag_conditions.posted(posted(form)), asked)


simple = st.sampled_from([PLAN, AGE, STAFF, {"attribute": "a.b", "operator": "is", "values": ["5"]}])
rows = st.lists(simple, min_size=1, max_size=4)
kinds = st.sampled_from(["all", "any", "none"])
groups = st.builds(lambda kind, inner: {kind: inner}, kinds, rows)


@given(kinds, rows, st.lists(groups, max_size=3))
def test_what_is_stored_comes_back_from_the_form_as_it_was(kind, inner, within):
    stored = {kind: [*inner, *within]}

    form = flag_conditions.form_of(stored)

    assert not form.is_raw
    assert flag_conditions.read(flag_conditions.posted(posted(form))) == stored
    assert form.words == conditions.words(conditions.parse_group(stored))


def test_a_group_is_built_row_by_row_and_goes_with_its_last_row():
    form = flag_conditions.form_of({"all": [PLAN]})

    with_group = press(form, "group")
    longer = press(with_group, "add-1")
    shorter = press(press(longer, "remove-2"), "remove-1")

    assert [len(group.rows) for group in with_group.groups] == [1, 1]
    assert [[row.number for row in group.rows] for group in longer.groups] == [[0], [1, 2]]
    assert flag_conditions.read(shorter) == {"all": [PLAN]} and len(shorter.groups) == 1


def test_what_lies_deeper_is_json_with_a_sentence_that_reads_it():
    form = flag_conditions.form_of(DEEP)

    assert form.is_raw
    assert form.words == "plan is one of beta, pro and (age is at least 18 or not (in audience staff))"
    with pytest.raises(Invalid, match="they stay JSON"):
        press(form, "rows")


def test_json_becomes_a_form_and_back():
    form = press(flag_conditions.form_of(NESTED), "json")

    assert form.is_raw
    assert flag_conditions.read(press(form, "rows")) == NESTED


@pytest.mark.parametrize(
    "raw", ["{", "[]", '{"all": 5}', '{"all": [{"any": 5}]}', '{"all": [{"x": 1}]}', '{"all": [5]}']
)
def test_what_is_no_condition_is_refused_with_a_sentence(raw):
    with pytest.raises(Invalid):
        flag_conditions.edited(flag_conditions.posted({"when": raw}), "rows")


@pytest.mark.django_db
def test_a_rule_with_groups_is_written_on_its_page(environment, client, alice):
    make_story(timezone.now())
    client.force_login(alice)
    page, form = reverse("flag-rule", args=[KEY, 0]), flag_conditions.form_of(NESTED)

    text = client.post(page, {"name": "Groups", "answer": "on", "do": "add-1"} | posted(form)).content.decode()
    client.post(page, {"name": "Groups", "answer": "on", "do": "keep"} | posted(form))
    client.post(reverse("flag-review", args=[KEY]), {"because": "groups", "revision": "2"})

    assert text.count('name="attribute-') == 5
    assert "Plan is one of beta, pro and (age is at least 18 or in audience staff)" in text
    assert queries.flag("production", KEY).rules[-1]["when"] == NESTED


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("page", "form", "sentence"),
    [
        (("flag-edit", KEY, "logic"), {"targeting": '{"in": ["%s", {"var": "v"}]}' % ("x" * 1_000_000)}, "256 KiB"),
        (("flag-edit", KEY, "logic"), {"targeting": '{"sem_ver": [{"var": "v"}, ">=", "1.x"]}'}, "is no version"),
        (("flag-rule", KEY, 0), {"operator-0": "matches", "values-0": "("}, "is no regular expression"),
        (("flag-rule", KEY, 0), {"operator-0": "version_at_least", "values-0": "one"}, "is no version"),
        (("flag-edit", KEY, "prerequisites"), {"flag-0": KEY, "variant-0": "on"}, "cannot require itself"),
        (
            ("flag-edit", KEY, "prerequisites"),
            {"flag-0": "upper", "variant-0": "on"},
            "new-parser requires upper requires new-parser",
        ),
    ],
)
def test_what_no_rule_may_be_is_refused_in_the_form_with_a_sentence(page, form, sentence, environment, client, alice):
    make_flag(rules=[{"when": PLAN, "variant": "on"}], salt="s")
    make_flag("upper", prerequisites=[{"flag": KEY, "variant": "on"}])
    client.force_login(alice)
    name, *args = page
    whole = {"name": "A rule", "answer": "on", "do": "keep", "kind-0": "all", "attribute-0": "v"}

    answer = client.post(reverse(name, args=args), whole | form)

    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert queries.flag("production", KEY).revision == 1
