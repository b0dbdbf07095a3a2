import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from apps.access import services
from apps.access.domain.roles import KeyScope
from apps.access.models import Environment
from apps.core.actors import person
from apps.journal.models import Entry

pytestmark = pytest.mark.django_db


def key_for(environment: Environment, *scopes: str) -> Client:
    _, secret = services.create_key(
        environment=environment, name="ci", scopes=list(scopes), by=person("alice"), now=timezone.now()
    )
    return Client(headers={"Authorization": f"Bearer {secret}"})


def test_an_admin_key_creates_an_environment_and_a_key_in_it(environment):
    admin = key_for(environment, KeyScope.MANAGE_ADMIN)

    made = admin.post("/api/v1/environments/", {"key": "staging", "name": "Staging"}, content_type="application/json")
    key = admin.post(
        "/api/v1/api-keys/",
        {"environment": "staging", "name": "reader", "scopes": ["flags:read"]},
        content_type="application/json",
    )

    assert made.status_code == 201
    assert key.status_code == 201
    assert key.json()["key"].startswith("co_")
    assert "key" not in admin.get("/api/v1/api-keys/?environment=staging").json()["results"][0]
    assert Entry.objects.filter(kind="key.created", by="key:ci").exists()


def test_an_environment_is_made_once(environment):
    admin = key_for(environment, KeyScope.MANAGE_ADMIN)

    again = admin.post("/api/v1/environments/", {"key": "production", "name": "P"}, content_type="application/json")

    assert again.status_code == 409
    assert again.json()["code"] == "already_there"


def test_a_key_of_another_environment_sees_nothing(environment, now):
    other = Environment.objects.create(key="other", name="Other", created_at=now)

    answer = key_for(other, KeyScope.MANAGE_WRITE).get("/api/v1/journal/?environment=production")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_reading_key_may_not_write(environment):
    answer = key_for(environment, KeyScope.MANAGE_READ).post(
        "/api/v1/api-keys/", {"name": "x", "scopes": ["flags:read"]}, content_type="application/json"
    )

    assert answer.status_code == 403
    assert answer.json()["detail"] == "key:ci needs the role admin in production."


def test_a_key_without_a_managing_scope_manages_nothing(environment):
    assert key_for(environment, KeyScope.FLAGS_READ).get("/api/v1/journal/").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer co_wrong"}, {"X-API-Key": "co_wrong"}])
def test_a_caller_without_a_good_key_is_told_so(environment, headers):
    answer = Client(headers=headers).get("/api/v1/journal/?environment=production")

    assert answer.status_code == 401
    assert answer.json()["code"] in ("not_authenticated", "authentication_failed")


def test_a_revoked_key_is_refused(environment):
    key, secret = services.create_key(
        environment=environment, name="old", scopes=["manage:read"], by=person("alice"), now=timezone.now()
    )
    services.revoke_key(key=key, by=person("alice"), because="leaked", now=timezone.now())

    answer = Client(headers={"X-API-Key": secret}).get("/api/v1/environments/")

    assert answer.status_code == 401


def test_unknown_scopes_are_named(environment):
    answer = key_for(environment, KeyScope.MANAGE_ADMIN).post(
        "/api/v1/api-keys/", {"name": "x", "scopes": ["flags:eat"]}, content_type="application/json"
    )

    assert answer.status_code == 400
    assert answer.json()["detail"] == 'scopes.0: "flags:eat" is not a valid choice.'


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 404)])
def test_people_read_the_journal_where_they_have_a_role(environment, request, who, status):
    client = Client()
    client.force_login(request.getfixturevalue(who))

    assert client.get("/api/v1/journal/?environment=production").status_code == status


def test_a_person_writes_with_the_csrf_token_only(environment, alice: User):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    answer = client.post("/api/v1/environments/", {"key": "x", "name": "X"}, content_type="application/json")

    assert answer.status_code == 403


def test_the_same_write_sent_twice_happens_once(environment):
    admin = key_for(environment, KeyScope.MANAGE_ADMIN)
    write = {"environment": "production", "name": "reader", "scopes": ["flags:read"]}
    headers = {"Idempotency-Key": "one"}

    first = admin.post("/api/v1/api-keys/", write, content_type="application/json", headers=headers)
    again = admin.post("/api/v1/api-keys/", write, content_type="application/json", headers=headers)
    other = admin.post("/api/v1/api-keys/", write | {"name": "y"}, content_type="application/json", headers=headers)

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 422
    assert environment.api_keys.filter(name="reader").count() == 1


def test_a_refused_write_may_be_mended_and_sent_again(environment):
    admin = key_for(environment, KeyScope.MANAGE_ADMIN)
    headers = {"Idempotency-Key": "one"}

    bad = admin.post("/api/v1/environments/", {"key": "Bad Key"}, content_type="application/json", headers=headers)
    good = admin.post(
        "/api/v1/environments/", {"key": "good", "name": "G"}, content_type="application/json", headers=headers
    )

    assert (bad.status_code, good.status_code) == (400, 201)


def test_broken_json_is_a_problem_not_a_fault(environment):
    answer = key_for(environment, KeyScope.MANAGE_ADMIN).post(
        "/api/v1/environments/", b"{", content_type="application/json"
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "parse_error"
