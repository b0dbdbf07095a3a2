"""The client holds room under hard caps before it calls, asks for many calls at once, and gives back what it did not
need: against a real server."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.utils import timezone

from apps.access import services as access
from apps.budgets import caps, services
from apps.budgets.models import Hold
from apps.journal.models import Entry
from changeover import BudgetExceeded, BudgetUnverifiable, Client, Resolved
from tests.budgets.make_rows import ALICE, ROUTE
from tests.budgets.test_holds import USD, make_cap
from tests.rollouts.make_rollouts import make_route

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connect(server, environment):
    now, clients = timezone.now(), []
    make_route(now)
    _, key = access.create_key(
        environment=environment, name="edge", scopes=["telemetry:write", "flags:read"], by=ALICE, now=now
    )

    def make():
        clients.append(Client(server.url, key, name="invoices", stream=False))
        return clients[-1]

    yield make
    for client in clients:
        client.close(1)


def left(budget):
    return caps.cap_of(budget, timezone.now()).left_nano / USD


def resolved(variant="gpt-4.1", **config):
    value = {"model": "openai/gpt-4.1", "max_cost_usd": "0.02"} | config
    return Resolved(ROUTE, "r-1", value, variant, "SPLIT", None, None, 1, "split")


def unplug(client):
    client._holds._url, client._holds._idle = "http://127.0.0.1:9", type(client._holds._idle)()


def test_many_calls_are_held_by_few_questions_and_settled_to_the_cent(connect):
    cap, client = make_cap(timezone.now(), 1), connect()

    for _ in range(30):
        with client.budgeted(resolved(), input_tokens=1000, max_tokens=500) as hold:
            hold.settle(input_tokens=1000, cached_input_tokens=400, output_tokens=50)
    reserved, slices = left(cap), Hold.objects.count()
    client.close()

    assert slices < 5
    assert reserved < 0.97  # slices count as reserved
    assert left(cap) == pytest.approx(1 - 30 * 0.0018)  # 600 x 2 + 400 x 0.50 + 50 x 8 USD per million
    assert set(Hold.objects.values_list("state", flat=True)) == {"settled"}


def test_what_a_call_may_cost_cuts_its_answer(connect):
    make_cap(timezone.now(), 1)

    hold = connect().budgeted(resolved(), input_tokens=1000)

    assert (hold.max_tokens, hold.usd) == (2250, Decimal("0.02"))  # max_cost_usd of the variant
    with pytest.raises(BudgetExceeded, match="prompt alone"):
        connect().budgeted(resolved(), input_tokens=20_000)


def test_a_full_budget_says_everything_one_must_know(connect):
    cap = make_cap(timezone.now(), 1)

    with pytest.raises(BudgetExceeded) as refused:
        connect().budgeted(resolved(), usd="1.01")

    told = refused.value
    assert (told.budget, told.spent_usd, told.reserved_usd, told.limit_usd) == (
        cap.id,
        "0.000000",
        "0.000000",
        "1.000000",
    )
    assert told.period_to


def test_processes_that_share_a_cap_never_pass_it(connect):
    cap, clients = make_cap(timezone.now(), 1), [connect(), connect()]

    def work(number):
        made = 0
        for _ in range(20):
            try:
                with clients[number % 2].budgeted(resolved(), usd="0.03") as hold:
                    made += hold.settle("0.03")
            except BudgetExceeded:
                break
        return made

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(work, range(4)))
    for client in clients:
        client.close()

    assert 20 <= made <= 33
    assert left(cap) == pytest.approx(1 - made * 0.03)


def test_a_slice_is_shared_for_seconds_only(connect):
    cap, client = make_cap(timezone.now(), 1), connect()
    with client.budgeted(resolved(), usd="0.01") as hold:
        hold.settle("0.004")
    before = left(cap)

    client._holds._clock = lambda real=client._holds._clock: real() + 16
    client._holds.look_after()

    assert (before, left(cap)) == (0.8, pytest.approx(0.996))


def test_a_long_call_keeps_no_more_than_it_may_cost(connect):
    cap, client = make_cap(timezone.now(), 1), connect()
    hold = client.budgeted(resolved(), usd="0.01")
    whole = left(cap)

    client._holds._clock = lambda real=client._holds._clock: real() + 16
    client._holds.look_after()
    kept = left(cap)
    hold.settle("0.004")

    assert (whole, kept, left(cap)) == (0.8, 0.99, pytest.approx(0.996))


def test_a_slice_under_a_long_call_is_held_longer(connect):
    make_cap(timezone.now(), 1)
    client = connect()
    hold = client.budgeted(resolved(), usd="0.01")
    ends_at = Hold.objects.get().expires_at

    client._holds._clock = lambda real=client._holds._clock: real() + 250
    client._holds.look_after()

    assert Hold.objects.get().expires_at > ends_at
    assert hold.settle("0.02")
    assert Hold.objects.get().settled_nano == 0.02 * USD


def test_more_for_a_call_under_way_is_asked_for(connect):
    make_cap(timezone.now(), 1, at_cap="cut")
    hold = connect().budgeted(resolved(), usd="0.3")

    hold.extend("0.6")

    assert (hold.usd, hold.at_cap) == (Decimal("0.9"), "cut")
    with pytest.raises(BudgetExceeded):
        hold.extend("0.2")


def test_a_call_that_is_left_without_settling_counts_as_a_whole_and_a_refused_one_not_at_all(connect):
    cap, client = make_cap(timezone.now(), 1), connect()

    with pytest.raises(ZeroDivisionError), client.budgeted(resolved(), usd="0.01"):
        raise ZeroDivisionError
    with client.budgeted(resolved(), usd="0.01") as refused:
        refused.release()
    client.close()

    assert left(cap) == pytest.approx(0.99)


def test_a_closed_cap_that_cannot_be_asked_lets_no_call_pass(connect):
    make_cap(timezone.now(), 1)
    client = connect()
    client.budgeted(resolved(), usd="0.01").settle("0.01")
    unplug(client)

    assert client.budgeted(resolved(), usd="0.01").is_verified  # there is room in the slice
    with pytest.raises(BudgetUnverifiable, match=f"route {ROUTE}"):
        client.budgeted(resolved(), usd="0.5")


def test_an_open_cap_that_cannot_be_asked_is_told_afterwards(connect):
    cap, client = make_cap(timezone.now(), 1, on_unreachable="open"), connect()
    url = client._holds._url
    client.budgeted(resolved(), usd="0.01").settle("0.01")
    unplug(client)

    with client.budgeted(resolved(), usd="0.5") as hold:
        hold.settle("0.25")
    client._holds._url = url
    client._holds.look_after()

    assert (hold.is_verified, left(cap)) == (False, pytest.approx(0.74))
    assert Entry.objects.filter(kind="budget.spend_unverified", effect="opens").count() == 1


def test_whoever_has_never_been_told_the_caps_decides_for_itself(connect):
    client = connect()
    unplug(client)

    with pytest.raises(BudgetUnverifiable):
        client.budgeted(resolved(), usd="0.01")
    assert not client.budgeted(resolved(), usd="0.01", on_unreachable="open").is_verified


def test_without_a_cap_nothing_is_held(connect):
    services.create_budget(
        environment="production", scope={}, period="day", limit_nano=USD, thresholds=[], by=ALICE, because="soft",
        now=timezone.now(),
    )  # fmt: skip

    with connect().budgeted(resolved(), input_tokens=1000, max_tokens=100) as hold:
        hold.settle("0.01")

    assert hold.is_verified
    assert not Hold.objects.exists()
