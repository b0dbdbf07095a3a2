"""A flag comes and goes in the console: made, copied, renamed, archived, brought back, deleted."""

import pytest
from django.utils import timezone

from apps.core.refusals import NotFound
from apps.flags import queries, services
from apps.flags.models import ChangeRequest, Flag
from tests.console.flag_pages import HERE, KEY, address, body
from tests.console.make_flags import TOM

pytestmark = pytest.mark.django_db
NEW = {
    "key": "dark-mode", "type": "boolean", "owner": "web", "variant-0": "on", "value-0": "true", "variant-1": "off",
    "value-1": "false", "default": "off", "do": "create",
}  # fmt: skip


def keep(client, act, key=KEY, **data):
    return client.post(address("flag-keep", key, act), {"because": "Time"} | data)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("boolean", "true", True), ("string", "a, b", "a, b"), ("integer", "5", 5), ("float", "2", 2.0),
     ("object", '{"a": 1}', {"a": 1})],
)  # fmt: skip
def test_a_flag_of_each_kind_is_made_in_one_form(kind, value, expected, story, client, alice):
    client.force_login(alice)

    client.post(address("flag-new"), NEW | {"type": kind, "value-0": value, "variant-1": "", "default": "on"})

    made = queries.flag(HERE, "dark-mode")
    assert (made.type, made.variants, made.owner) == (kind, {"on": expected}, "web")
    assert type(made.variants["on"]) is type(expected)


def test_a_route_is_made_in_the_same_form(story, client, alice):
    client.force_login(alice)
    model = {"type": "route", "value-0": '{"model": "openai/gpt-4.1"}', "value-1": '{"model": "openai/gpt-5"}'}

    client.post(address("flag-new"), NEW | model | {"fallback": "on"})

    made = queries.route(HERE, "dark-mode")
    assert (made.fallback_variant, made.model("off")) == ("on", "openai/gpt-5")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"key": KEY}, "already"), ({"key": "a b"}, "A key has 1 to 128 letters"), ({"type": "spoon"}, "Choose what kind"),
     ({"value-0": "maybe"}, "The value of on is true or false."), ({"default": "blue"}, "blue is no variant"),
     ({"type": "route"}, "Variant on is no object."), ({"variant-1": "on"}, "on stands twice.")],
)  # fmt: skip
def test_what_cannot_be_made_is_said_and_what_was_written_stays(wrong, sentence, story, client, alice):
    client.force_login(alice)

    answer = client.post(address("flag-new"), NEW | wrong)

    assert answer.status_code == 400
    assert sentence in body(answer)
    assert 'value="web"' in body(answer)


def test_one_more_variant_needs_no_script(story, client, alice):
    client.force_login(alice)

    text = body(client.post(address("flag-new"), NEW | {"do": "more"}))

    assert 'name="variant-2"' in text and 'name="variant-3"' not in text


@pytest.mark.parametrize("act", ["copy", "rename", "archive"])
def test_each_act_says_first_what_it_does_to_those_who_ask(act, story, client, alice):
    client.force_login(alice)

    text = body(client.get(address("flag-keep", KEY, act)))

    told = {"copy": "which nobody asks for yet", "rename": "“flag not found”", "archive": "the default in their code"}
    assert told[act] in text
    assert ("It was asked for 24 times in the last day, by billing." in text) is (act != "copy")


def test_a_renamed_flag_keeps_its_subjects_or_keeps_its_name(story, client, alice):
    client.force_login(alice)

    split = keep(client, "rename", to="newer")
    services.change_weights(
        environment=HERE, key=KEY, weights={"off": 10_000}, by=TOM, because="Whole again", now=timezone.now()
    )
    whole = keep(client, "rename", to="newer")

    assert "keeps its name: v3 hashes it together" in body(split)
    assert whole.status_code == 302 and queries.flag(HERE, "newer").salt == KEY


def test_an_archived_flag_comes_back_or_goes_for_good(story, client, alice):
    client.force_login(alice)
    keep(client, "archive")
    gone = queries.flag(HERE, KEY).archived_at
    offered = body(client.get(address("flag", KEY)))
    keep(client, "unarchive")
    back = queries.flag(HERE, KEY).archived_at
    keep(client, "archive")
    keep(client, "delete")

    assert gone and back is None
    assert "Bring it back" in offered and "Switch off" not in offered
    with pytest.raises(NotFound):
        queries.flag(HERE, KEY)


def test_a_copy_says_whether_it_divides_alike(story, client, alice):
    client.force_login(alice)

    text = body(client.get(address("flag-keep", KEY, "copy")))
    answer = keep(client, "copy", to="parser-2")

    assert "it divides subjects anew" in text
    assert answer.status_code == 302 and queries.flag(HERE, "parser-2").rules == queries.flag(HERE, KEY).rules


def test_under_protection_leaving_asks_another_person(story, client, alice, environment):
    environment.is_protected = True
    environment.save()
    client.force_login(alice)

    keep(client, "archive")

    row = ChangeRequest.objects.get()
    assert (row.action, row.state, row.subject) == ("archive", "submitted", KEY)
    assert queries.flag(HERE, KEY).archived_at is None


def test_a_reason_and_a_fresh_look_are_needed(story, client, alice):
    client.force_login(alice)

    assert "Say why" in body(keep(client, "archive", because=" "))
    assert "tom changed new-parser since you looked." in body(keep(client, "archive", revision="1"))
    assert queries.flag(HERE, KEY).archived_at is None


@pytest.mark.parametrize("act", ["delete", "unarchive", "explode"])
def test_what_does_not_fit_the_flag_is_not_there(act, story, client, alice):
    client.force_login(alice)

    assert keep(client, act).status_code == 404
    assert keep(client, "rename", key="invoice-extraction", to="x").status_code == 404


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_viewer_and_stranger_make_and_keep_nothing(who, story, client, request):
    client.force_login(request.getfixturevalue(who))
    before = list(Flag.objects.values_list("key", "revision"))

    assert client.post(address("flag-new"), NEW).status_code in (403, 404)
    assert keep(client, "archive").status_code in (403, 404)
    assert list(Flag.objects.values_list("key", "revision")) == before
