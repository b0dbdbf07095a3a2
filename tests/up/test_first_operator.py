from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from apps.access.domain.roles import Role
from apps.access.models import Environment, Grant
from apps.journal.models import Entry

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8000"
PASSWORDS = {"new_password1": "a very long word", "new_password2": "a very long word"}


def link(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("first_operator_link", url=URL)
    return capsys.readouterr().out.strip()


def test_the_link_sets_the_password_and_lets_in(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    path = link(capsys).removeprefix(URL)

    form = client.get(path, follow=True)
    answer = client.post(form.redirect_chain[-1][0], PASSWORDS)
    landed = client.get(answer.url)

    operator = User.objects.get()
    assert form.status_code == 200
    assert answer.status_code == 302
    assert client.session["_auth_user_id"] == str(operator.pk)
    assert operator.check_password("a very long word")
    assert Grant.objects.get().role == Role.ADMIN
    assert (landed.status_code, "No routes yet" in landed.content.decode()) == (200, True)


def test_the_first_start_makes_an_environment_unless_there_is_one(
    environment, capsys: pytest.CaptureFixture[str]
) -> None:
    link(capsys)
    assert Environment.objects.get() == environment

    Environment.objects.all().delete()
    link(capsys), link(capsys)

    made = Environment.objects.get()
    assert (made.key, made.is_production, made.is_protected) == ("production", True, False)
    assert Entry.objects.filter(kind="environment.created", environment="production").count() == 1


def test_the_link_works_once(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    path = link(capsys).removeprefix(URL)
    client.post(client.get(path, follow=True).redirect_chain[-1][0], PASSWORDS)

    again = Client().get(path, follow=True)

    assert "no longer works" in again.content.decode()


def test_a_new_link_is_made_until_somebody_can_log_in(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = link(capsys), link(capsys)
    client.post(client.get(second.removeprefix(URL), follow=True).redirect_chain[-1][0], PASSWORDS)

    assert first
    assert link(capsys) == ""
    assert User.objects.count() == 1
    assert Entry.objects.filter(kind="person.granted").count() == 1


def test_there_is_no_link_where_somebody_can_log_in(
    alice: User, capsys: pytest.CaptureFixture[str], now: datetime
) -> None:
    assert link(capsys) == ""


def test_the_console_says_how_to_make_the_first_environment(client: Client, alice: User) -> None:
    client.force_login(alice)
    Environment.objects.all().delete()

    page = client.get("/")

    assert (page.status_code, "manage.py create_environment production" in page.content.decode()) == (403, True)
