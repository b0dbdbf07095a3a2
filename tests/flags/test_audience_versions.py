"""What an audience was: shown, compared, reverted to as a new version."""

import pytest

from apps.core.refusals import NotFound, Stale
from apps.flags import audience_versions, audiences, environment_file, queries, versions
from apps.flags.models import AudienceVersion
from apps.flags.refusals import ChangeRequestNeeded
from tests.flags.make_flags import make_environment, make_flag
from tests.flags.test_audiences import BETA, PRO, RULES, SAID, make_audience
from tests.flags.test_services import last_entry, served

pytestmark = pytest.mark.django_db
TESTERS = SAID | {"key": "testers"}
URL = "/api/v1/audiences/testers"


def make_history():
    make_audience(description="Who tries it")
    make_flag(rules=RULES)
    audiences.change_audience(**TESTERS, conditions=PRO)


def test_each_change_is_a_version_with_who_and_why():
    make_history()

    rows = list(audience_versions.rows("production", "testers"))

    assert [(row.revision, row.fields["conditions"]) for row in rows] == [(2, PRO), (1, BETA)]
    assert (rows[0].by, rows[0].because) == ("alice", "to see")
    compared = audience_versions.compare("production", "testers", 1, 2)
    assert compared.changes == {"conditions": {"was": BETA, "is": PRO}}


def test_a_revert_is_a_new_version_and_its_flags_follow_in_one():
    make_history()

    published = audience_versions.revert_audience(**TESTERS, revision=1)

    found = queries.audience("production", "testers")
    assert (found.revision, found.conditions, found.description) == (3, BETA, "Who tries it")
    assert served("new-parser")["targeting"] == {"if": [{"===": [{"var": "plan"}, "beta"]}, "on"]}
    assert published.version == queries.snapshot("production").version
    assert last_entry().kind == "audience.reverted"


def test_the_flag_s_own_versions_tell_what_its_audience_did():
    make_history()

    compared = versions.compare("production", "new-parser", 1, 2)

    assert list(compared.changes) == ["targeting"]
    assert "pro" in str(compared.changes["targeting"]["is"])


def test_an_old_look_is_refused_with_the_difference():
    make_history()

    with pytest.raises(Stale) as refused:
        audience_versions.revert_audience(**TESTERS, revision=1, expected=1)

    assert refused.value.changes == {"conditions": {"was": BETA, "is": PRO}}


def test_a_revision_that_never_was_is_not_found():
    make_history()

    with pytest.raises(NotFound):
        audience_versions.revert_audience(**TESTERS, revision=9)


def test_a_protected_environment_asks_for_a_change_request():
    make_history()
    environment = make_environment()
    environment.is_protected = True
    environment.save()

    with pytest.raises(ChangeRequestNeeded):
        audience_versions.revert_audience(**TESTERS, revision=1)


def test_what_a_file_changes_is_a_version_too():
    make_history()
    text = environment_file.export("production").replace("- pro", "- gold")

    environment_file.apply(**SAID, text=text)

    assert audience_versions.rows("production", "testers").count() == 3


def test_versions_outlive_the_audience():
    make_audience()

    audiences.delete_audience(**TESTERS)

    assert AudienceVersion.objects.get().key == "testers"


def test_the_api_shows_compares_and_reverts(client, alice, bob, charlie):
    make_history()
    here = "?environment=production"
    client.force_login(charlie)
    assert client.get(f"{URL}/versions/{here}").status_code == 404
    client.force_login(bob)
    assert [row["revision"] for row in client.get(f"{URL}/versions/{here}").json()["results"]] == [2, 1]
    assert client.get(f"{URL}/versions/1/{here}").json()["definition"]["conditions"] == BETA
    compared = client.get(f"{URL}/versions/compare/{here}&from=1&to=2").json()
    assert list(compared["changes"]) == ["conditions"]
    body = {"revision": 1, "because": "It was right"}
    assert client.post(f"{URL}/revert/{here}", body, "application/json").status_code == 403
    client.force_login(alice)

    answer = client.post(f"{URL}/revert/{here}", body, "application/json")

    assert (answer.status_code, answer.json()["revision"], answer["ETag"]) == (200, 3, '"3"')
    assert client.get(f"{URL}/versions/compare/{here}&from=x&to=2").status_code == 400
