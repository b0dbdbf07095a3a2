"""Whatever the schema allows, and what it does not: no endpoint of flags answers with a fault of ours."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.flags import audiences, change_requests
from tests.flags.make_flags import ALICE, NOW, make_flag, make_route
from tests.flags.test_api import with_key

pytestmark = [pytest.mark.django_db, pytest.mark.fuzz, pytest.mark.slow]
OURS = ("flags", "routes", "audiences", "change-requests", "clients", "evaluate")
EXAMPLES = 12
SAID = {"environment": "production", "by": ALICE, "because": "", "now": NOW}


def operations() -> list[Any]:
    document = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document, default=str)))
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if one.path.startswith(tuple(f"/api/v1/{name}/" for name in OURS))]


class Undone(Exception):
    """Every example begins with the same tables."""


@pytest.mark.parametrize("operation", operations(), ids=lambda one: f"{one.method} {one.path}")
def test_no_endpoint_answers_with_a_fault(operation):
    make_flag(rules=[{"when": {"attribute": "a", "operator": "is_set"}, "variant": "on"}])
    make_route()
    audiences.create_audience(**SAID, key="testers", conditions={"attribute": "a", "operator": "is_set"})
    request = change_requests.propose(**SAID, subject="new-parser", fields={"owner": "x"})
    known = {"key": ["new-parser", "invoice-extraction", "testers"], "id": [request.id], "revision": [1]}
    api = with_key("manage:admin", environment="production").client

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(), st.data())
    def ask(case: schemathesis.Case, data: st.DataObject) -> None:
        path = operation.path
        for name, value in (case.path_parameters or {}).items():
            value = data.draw(st.sampled_from([*known.get(name, []), value]))
            path = path.replace(f"{{{name}}}", quote(str(value).encode("utf-8", "replace"), safe=""))
        query = {name: str(value) for name, value in (case.query or {}).items()} | {"environment": "production"}
        body = case.body if isinstance(case.body, dict | list) else {}
        try:
            with transaction.atomic():
                answer = api.generic(
                    operation.method.upper(),
                    path,
                    json.dumps(body),
                    content_type="application/json",
                    query_params={name: value.encode("utf-8", "replace") for name, value in query.items()},
                )
                assert answer.status_code < 500, answer.content
                raise Undone
        except Undone:
            pass

    ask()
