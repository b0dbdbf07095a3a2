import pytest
from django.test import Client


@pytest.mark.parametrize("address", ["/api/v1/routes/%00/", "/api/v1/routes/?environment=%00"])
def test_an_address_with_nul_is_a_problem_and_no_fault(address):
    answer = Client().get(address)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "A text may not contain the NUL character."


def test_a_form_with_nul_is_refused():
    answer = Client().post("/login/", b"username=a%00b", "application/x-www-form-urlencoded")

    assert answer.status_code == 400


def test_a_cookie_with_nul_is_refused():
    answer = Client(headers={"cookie": 'sessionid="a\\000b"'}).get("/api/v1/routes/")

    assert answer.status_code == 400


def test_others_are_let_through(client, db):
    assert client.get("/login/?next=/").status_code == 200
