"""The client holds room under hard caps before it calls, asks for many calls at once, and gives back what it did not
need: against a real server."""

import contextlib
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.utils import timezone

from apps.access import services as access
from apps.budgets import caps, services
from apps.budgets.models import Hold
from apps.catalog import shipped
from apps.journal.models import Entry
from changeover import BudgetExceeded, BudgetUnverifiable, Client, Resolved
from changeover.ids import new_id
from tests.budgets.make_rows import ALICE, ROUTE
from tests.budgets.test_holds import USD, make_cap
from tests.processes import ROOT
from tests.rollouts.make_rollouts import make_route

pytestmark = pytest.mark.django_db(transaction=True)
PATIENT = {"timeout_seconds": 30, "hold_timeout_seconds": 30}  # with a server that has more to do than we


@pytest.fixture
def connect(server, environment, monkeypatch):
    monkeypatch.setattr("changeover.holds.LOOK_EVERY", 3600.0)  # `look_after` is called here, and by no other thread
    now, clients = timezone.now(), []
    make_route(now)
    _, key = access.create_key(
        environment=environment, name="edge", scopes=["telemetry:write", "flags:read"], by=ALICE, now=now
    )

    def make():
        clients.append(Client(server.url, key, name="invoices", stream=False, **PATIENT))
        return clients[-1]

    yield make
    for client in clients:
        client.close(1)


def make_own_cap(usd, **changes):
    """One that no midnight empties: the server goes by the real clock."""
    return make_cap(timezone.now(), usd, period="rolling_day", **changes)


def left(budget):
    return caps.cap_of(budget, timezone.now()).left_nano / USD


def resolved(variant="gpt-4.1", **config):
    value = {"model": "openai/gpt-4.1", "max_cost_usd": "0.02"} | config
    return Resolved(ROUTE, "r-1", value, variant, "SPLIT", None, None, 1, "split")


def plug(client, url, timeout=30):
    client._holds._url, client._holds._timeout, client._holds._idle = url, timeout, type(client._holds._idle)()


def unplug(client):
    plug(client, "http://127.0.0.1:9")


def look_after(client, seconds):
    """As the keeper's own thread will, after so many seconds."""
    client._holds._clock = lambda real=client._holds._clock: real() + seconds
    client._holds.look_after()


def test_many_calls_are_held_by_few_questions_and_settled_to_the_cent(connect):
    cap, client = make_own_cap(1), connect()

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
    make_own_cap(1)

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


SPENDS_ALL = """
import sys
from changeover import BudgetExceeded, Client

made = 0
patient = {"timeout_seconds": 30, "hold_timeout_seconds": 30}
with Client(*sys.argv[1:], name="batch", stream=False, **patient) as client:
    try:
        while made < 40:
            with client.budgeted("invoice-extraction", usd="0.03") as hold:
                made += hold.settle("0.03")
    except BudgetExceeded:
        pass
print(made)
"""


def test_processes_that_share_a_cap_never_pass_it(connect):
    cap, client = make_own_cap(1), connect()
    command = [sys.executable, "-c", SPENDS_ALL, client._holds._url, client._holds._key]
    path = os.environ | {"PYTHONPATH": str(ROOT / "sdk")}

    running = [subprocess.Popen(command, env=path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    made = sum(int(process.communicate(timeout=120)[0]) for process in running)

    assert 20 <= made <= 33
    assert left(cap) == pytest.approx(1 - made * 0.03)


def test_a_slice_is_shared_for_seconds_only(connect):
    cap, client = make_own_cap(1), connect()
    with client.budgeted(resolved(), usd="0.01") as hold:
        hold.settle("0.004")
    before = left(cap)

    look_after(client, 16)

    assert (before, left(cap)) == (0.8, pytest.approx(0.996))


def test_kinds_of_calls_that_come_no_more_leave_nothing_behind(connect):
    cap, client = make_own_cap(1), connect()
    for number in range(3):
        client.budgeted(resolved(), usd="0.01", tag=f"user-{number}").settle("0.01")
    long = client.budgeted(resolved(), usd="0.01", tag="long")

    look_after(client, 16)
    look_after(client, 61)
    kept = [account.scope["tag"] for account in client._holds._accounts.values()]
    long.settle("0.02")
    look_after(client, 61)

    assert kept == ["long"]
    assert not client._holds._accounts
    assert left(cap) == pytest.approx(0.95)


def test_who_closes_and_who_looks_after_leave_nothing_untold_between_them(connect):
    cap, client = make_own_cap(1), connect()
    for _ in range(20):
        told = {"usd": "0.01", "unverified": True, "scope": {"route": ROUTE, "variant": "gpt-4.1"}}
        client._holds._settle_later(new_id(), told)

    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(client._holds.look_after), threads.submit(client._holds.close, 30)]
        assert [one.result() for one in done] == [None, None]

    assert left(cap) == pytest.approx(0.8)


def test_a_long_call_keeps_no_more_than_it_may_cost(connect):
    cap, client = make_own_cap(1), connect()
    hold = client.budgeted(resolved(), usd="0.01")
    whole = left(cap)

    look_after(client, 16)
    kept = left(cap)
    hold.settle("0.004")

    assert (whole, kept, left(cap)) == (0.8, 0.99, pytest.approx(0.996))


def test_a_slice_under_a_long_call_is_held_longer(connect):
    make_own_cap(1)
    client = connect()
    hold = client.budgeted(resolved(), usd="0.01")
    ends_at = Hold.objects.get().expires_at

    look_after(client, 250)

    assert Hold.objects.get().expires_at > ends_at
    assert hold.settle("0.02")
    assert Hold.objects.get().settled_nano == 0.02 * USD


def test_more_for_a_call_under_way_is_asked_for(connect):
    make_own_cap(1, at_cap="cut")
    hold = connect().budgeted(resolved(), usd="0.3")

    hold.extend("0.6")

    assert (hold.usd, hold.at_cap) == (Decimal("0.9"), "cut")
    with pytest.raises(BudgetExceeded):
        hold.extend("0.2")


def test_a_call_that_is_left_without_settling_counts_as_a_whole_and_a_refused_one_not_at_all(connect):
    cap, client = make_own_cap(1), connect()

    with pytest.raises(ZeroDivisionError), client.budgeted(resolved(), usd="0.01"):
        raise ZeroDivisionError
    with client.budgeted(resolved(), usd="0.01") as refused:
        refused.release()
    client.close()

    assert left(cap) == pytest.approx(0.99)


def test_a_closed_cap_that_cannot_be_asked_lets_no_call_pass(connect):
    make_own_cap(1)
    client = connect()
    client.budgeted(resolved(), usd="0.01").settle("0.01")
    unplug(client)

    assert client.budgeted(resolved(), usd="0.01").is_verified  # there is room in the slice
    with pytest.raises(BudgetUnverifiable, match=f"route {ROUTE}"):
        client.budgeted(resolved(), usd="0.5")


def test_an_open_cap_that_cannot_be_asked_is_told_afterwards(connect):
    cap, client = make_own_cap(1, on_unreachable="open"), connect()
    url = client._holds._url
    client.budgeted(resolved(), usd="0.01").settle("0.01")
    unplug(client)

    with client.budgeted(resolved(), usd="0.5") as hold:
        hold.settle("0.25")
    plug(client, url)
    look_after(client, 2)

    assert (hold.is_verified, left(cap)) == (False, pytest.approx(0.74))
    told = Entry.objects.get(kind="budget.spend_unverified", effect="opens")
    assert told.sentence == f"$0.250000 were spent under the cap of route {ROUTE} without asking for room."


def test_a_control_plane_that_hangs_delays_no_call_but_those_that_were_asking(connect):
    make_own_cap(1, on_unreachable="open")
    client = connect()
    client.budgeted(resolved(), usd="0.01").settle("0.01")
    url = client._holds._url

    def call(_):
        with client.budgeted(resolved(), usd="0.5") as hold:
            hold.settle("0.001")
        return hold.is_verified

    with socket.create_server(("127.0.0.1", 0), backlog=50) as hanging, ThreadPoolExecutor(10) as pool:
        plug(client, f"http://127.0.0.1:{hanging.getsockname()[1]}", timeout=0.3)
        verified = [*pool.map(call, range(10)), *pool.map(call, range(10))]
        questions = how_many_came(hanging)

    assert set(verified) == {False}
    assert questions == 1  # of all who were asking; and later nobody asks
    plug(client, url)
    look_after(client, 20)
    unverified = Hold.objects.filter(is_unverified=True)
    assert sum(unverified.values_list("settled_nano", flat=True)) == 20 * 0.001 * USD
    assert client.budgeted(resolved(), usd="0.01").is_verified


def how_many_came(listening):
    """Connections that nobody has answered."""
    listening.setblocking(False)
    came = []
    with contextlib.suppress(BlockingIOError):
        while True:
            came.append(listening.accept()[0])
    for connection in came:
        connection.close()
    return len(came)


def test_whoever_has_never_been_told_the_caps_decides_for_itself(connect):
    client = connect()
    unplug(client)

    with pytest.raises(BudgetUnverifiable):
        client.budgeted(resolved(), usd="0.01")
    assert not client.budgeted(resolved(), usd="0.01", on_unreachable="open").is_verified


def test_what_was_spent_before_any_price_was_told_is_priced_once_there_is_one(connect):
    cap, client = make_own_cap(1, on_unreachable="open"), connect()
    url = client._holds._url
    unplug(client)

    for settled in ({"input_tokens": 1000, "output_tokens": 50}, {}):
        client.budgeted(resolved(), input_tokens=1000, max_tokens=500, on_unreachable="open").settle(**settled)
    client.budgeted(resolved(), on_unreachable="open").settle()  # it may have cost all that its variant allows
    plug(client, url)
    look_after(client, 2)

    assert left(cap) == pytest.approx(1 - 0.0024 - 0.006 - 0.02)


@pytest.mark.parametrize(
    ("asked", "held", "used", "settled"),
    [  # of 100,000 tokens all may be written for an hour
        ({}, "0.6015", {"cache_write_tokens": 100_000, "cache_write_1h_tokens": 100_000}, "0.6015"),
        ({"cache_write_tokens": 0}, "0.3015", {"cached_input_tokens": 50_000}, "0.1665"),
        ({"cache_write_tokens": 50_000}, "0.4515", {"cache_write_tokens": 50_000}, "0.339"),
    ],
)
def test_what_is_written_to_a_cache_is_held_at_its_own_rate(connect, asked, held, used, settled):
    make_own_cap(10, scope={})
    told = connect().budgeted(
        "notes", provider="anthropic", model="claude-sonnet-4-5", input_tokens=100_000, max_tokens=100, **asked
    )

    told.settle(input_tokens=100_000, output_tokens=100, **used)

    slice = told._slice
    assert (told.usd, Decimal(slice.used) / USD) == (Decimal(held), Decimal(settled))
    price = shipped.price_book().find("anthropic", "claude-sonnet-4-5", datetime.now(UTC))
    tokens = [used.get(name, 0) for name in ("cache_write_tokens", "cache_write_1h_tokens")]
    assert slice.used == price.cost_nano(100_000, used.get("cached_input_tokens", 0), 100, *tokens)


@pytest.mark.parametrize(("tier", "held"), [({}, "0.0225"), ({"service_tier": "priority"}, "0.045")])
def test_a_dearer_service_tier_is_held_at_its_own_rate(connect, tier, held):
    make_own_cap(10, scope={})
    in_config = resolved("gpt-5", model="openai/gpt-5", **tier)

    for call in (in_config, "invoices"):
        said = {} if call is in_config else {"model": "openai/gpt-5", **tier}
        assert connect().budgeted(call, input_tokens=10_000, max_tokens=1000, **said).usd == Decimal(held)


def test_without_a_cap_nothing_is_held(connect):
    services.create_budget(
        environment="production", scope={}, period="day", limit_nano=USD, thresholds=[], by=ALICE, because="soft",
        now=timezone.now(),
    )  # fmt: skip

    with connect().budgeted(resolved(), input_tokens=1000, max_tokens=100) as hold:
        hold.settle("0.01")

    assert hold.is_verified
    assert not Hold.objects.exists()
