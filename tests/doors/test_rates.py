import pytest

from apps.access import serving as access
from apps.access import using
from apps.access.models import ApiKey
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import make_flag

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
ONE, BULK = "/ofrep/v1/evaluate/flags/new-parser", "/ofrep/v1/evaluate/flags"


@pytest.fixture
def slow_key(monkeypatch) -> dict[str, str]:
    """One request and no more: the clock stands still."""
    monkeypatch.setattr(using, "limits", using.Limits(lambda: 100.0))
    make_flag()
    headers = make_key()
    ApiKey.objects.update(rate_per_second=1)
    access.refresh()
    look()
    return headers


@pytest.mark.parametrize("path", [ONE, BULK])
def test_ofrep_says_too_fast_in_the_protocols_words(path, slow_key):
    assert ask("POST", path, body={}, headers=slow_key).status == 200

    refused = ask("POST", path, body={}, headers=slow_key)

    assert refused.status == 429
    assert refused.header("retry-after") == "1"  # whole seconds: JavaScript sleeps 2026 s on a date
    assert list(refused.json) == ["errorDetails"]


@pytest.mark.parametrize("path", ["/flagd/flags.json", "/api/v1/changes"])
def test_the_other_doors_say_it_as_a_problem(path, slow_key):
    ask("POST", ONE, body={}, headers=slow_key)

    refused = ask("GET", path, headers=slow_key)

    assert (refused.status, refused.json["code"]) == (429, "too_fast")
    assert refused.header("retry-after") == "1"


def test_the_limit_of_one_key_is_not_anothers(slow_key):
    other = make_key()
    ask("POST", ONE, body={}, headers=slow_key)

    assert ask("POST", ONE, body={}, headers=slow_key).status == 429
    assert all(ask("POST", ONE, body={}, headers=other).status == 200 for _ in range(5))
