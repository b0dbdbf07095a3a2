"""An address that nobody serves, and a fault, answer in the form of their neighbours."""

import io
import json
from typing import Any

import pytest
from django.test import Client, RequestFactory
from rest_framework.exceptions import ValidationError

from apps.core.api import Json
from controlplane import errors


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "patch", "delete"])
def test_an_unknown_address_of_the_api_is_a_problem(method: str) -> None:
    answer = getattr(Client(), method)("/api/v1/nothing/")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.django_db
def test_an_unknown_page_leads_back_to_the_console() -> None:
    answer = Client().get("/nothing/")
    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.content.decode()
    assert 'href="/"' in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": "a\0"}, "name"),
        ({"rules": [{"values": ["\ud800"]}]}, "rules.0.values.0"),
        ({"config": {"\udfff": 1}}, "config"),
        ({"why": "\0"}, "why"),
        ("\0", "body"),
    ],
)
def test_a_text_that_no_database_takes_is_named(body: Any, place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Json().parse(io.BytesIO(json.dumps(body).encode()))
    assert list(refused.value.detail) == [place]


def test_a_fault_under_the_api_is_a_problem_and_tells_no_inner_things() -> None:
    answer = errors.fault(RequestFactory().get("/api/v1/flags/"))
    assert answer.status_code == 500
    assert set(json.loads(answer.content)) == {"type", "status", "code", "detail"}
