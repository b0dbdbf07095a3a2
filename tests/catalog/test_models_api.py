import pytest
from rest_framework.test import APIClient

from apps.access import services as access
from apps.catalog import queries, services
from apps.catalog.models import Model
from apps.core.actors import WORKER
from apps.journal.models import Entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def contenders(now):
    return services.ensure_contenders(now=now)


def client_of(person):
    client = APIClient()
    client.force_login(person)
    return client


def key_client(environment, now, *scopes):
    _, secret = access.create_key(environment=environment, name="ci", scopes=list(scopes), by=WORKER, now=now)
    return APIClient(headers={"authorization": f"Bearer {secret}"})


def test_it_ships_the_five_contenders_with_real_prices(contenders, bob):
    answer = client_of(bob).get("/api/v1/models/").json()

    assert answer["count"] == 5
    rows = {row["key"]: row for row in answer["results"]}
    assert set(rows) == {
        "anthropic/claude-sonnet-4-5",
        "google/gemini-2.5-flash-lite",
        "openai/chatgpt-4.1",
        "openai/gpt-4.1",
        "openai/gpt-5",
    }
    assert all(row["strength"] and row["weakness"] and row["prices"] for row in rows.values())
    assert rows["openai/gpt-5"]["tier"] == "preview"
    price = rows["openai/gpt-4.1"]["prices"][0]
    assert price["from"].startswith("2025-04-14")
    assert price["input_usd_per_million"] == "2.000000"
    assert price["cached_input_usd_per_million"] == "0.500000"
    assert price["output_usd_per_million"] == "8.000000"


def test_loading_them_again_changes_nothing(contenders, now):
    Model.objects.filter(key="openai/gpt-5").update(name="Ours", tier="large", strength="", weakness="")

    services.ensure_contenders(now=now)

    assert Model.objects.count() == 5
    assert Model.objects.get(key="openai/gpt-5").name == "Ours"


def test_a_key_that_may_read_reads_models(contenders, environment, now):
    assert key_client(environment, now, "manage:read").get("/api/v1/models/openai/gpt-5/").json()["tier"] == "preview"


def test_nobody_reads_them_without_logging_in(contenders):
    assert APIClient().get("/api/v1/models/").status_code == 401


def test_an_unknown_model_is_not_found(contenders, bob):
    answer = client_of(bob).get("/api/v1/models/openai/gpt-99/")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


NEW = {
    "key": "acme/tiny-1",
    "name": "Tiny",
    "tier": "compact",
    "prices": [
        {"from": "2026-01-01T00:00:00Z", "input_usd_per_million": "0.02", "output_usd_per_million": "0.0000004"}
    ],
}


def test_an_admin_adds_a_model_and_later_a_price(environment, now):
    admin = key_client(environment, now, "manage:admin")

    added = admin.post("/api/v1/models/", NEW, format="json")
    newer = {"from": "2026-06-01T00:00:00Z", "input_usd_per_million": 0.03, "output_usd_per_million": 1}
    priced = admin.post("/api/v1/models/acme/tiny-1/prices/", newer, format="json")

    assert added.status_code == 201
    assert added.json()["prices"][0]["output_usd_per_million"] == "0.0000004"
    assert [price["from"][:10] for price in priced.json()["prices"]] == ["2026-01-01", "2026-06-01"]
    assert queries.price_book().find("acme", "tiny-1", now).cost_nano(1_000_000, 0, 0) == 30_000_000
    told = Entry.objects.filter(kind__startswith="model.").order_by("id")
    assert list(told.values_list("kind", flat=True)) == ["model.added", "model.priced"]


def test_a_price_is_added_once_per_moment(environment, now):
    admin = key_client(environment, now, "manage:admin")
    admin.post("/api/v1/models/", NEW, format="json")

    again = admin.post("/api/v1/models/acme/tiny-1/prices/", NEW["prices"][0], format="json")

    assert again.status_code == 409


def test_a_price_names_each_edge_once(environment, now):
    admin = key_client(environment, now, "manage:admin")
    admin.post("/api/v1/models/", NEW, format="json")
    band = {"above_input_tokens": 1000, "input_usd_per_million": "1", "output_usd_per_million": "2"}
    price = NEW["prices"][0] | {"from": "2026-02-01T00:00:00Z", "bands": [band, band]}

    answer = admin.post("/api/v1/models/acme/tiny-1/prices/", price, format="json")

    assert answer.status_code == 400
    assert "bands" in answer.json()["errors"]


def test_an_operator_adds_no_model(alice):
    assert client_of(alice).post("/api/v1/models/", NEW, format="json").status_code == 403


def test_a_model_without_a_provider_is_refused(environment, now):
    answer = key_client(environment, now, "manage:admin").post("/api/v1/models/", NEW | {"key": "tiny"}, format="json")

    assert answer.status_code == 400
    assert "key" in answer.json()["errors"]


def test_the_price_book_knows_when_it_is_old(contenders, environment, now):
    before = queries.price_version()

    key_client(environment, now, "manage:admin").post("/api/v1/models/", NEW, format="json")

    assert queries.price_version() != before
    assert queries.price_book().version == queries.price_version()
