"""Is there room under all caps that count a call? One function decides, and one says how much is given at once."""

import pytest

from apps.budgets.domain.admission import Cap, differs, refused_by, slice_nano


def cap(**changes):
    return Cap(**({"budget": "b", "name": "b", "limit_nano": 10, "reserved_nano": 2, "ledger_nano": 3} | changes))


@pytest.mark.parametrize(
    ("caps", "nano", "says"),
    [
        ([], 5, None),
        ([cap()], 5, None),
        ([cap()], 6, False),
        ([cap(settled_lately_nano=1)], 5, False),
        ([cap(settled_nano=4)], 5, False),
        ([cap(settled_nano=3)], 5, None),
        ([cap(ledger_nano=None)], 5, True),
        ([cap(ledger_nano=None, on_unreachable="open")], 5, None),
        ([cap(ledger_nano=None, on_unreachable="open"), cap()], 6, False),
        ([cap(ledger_nano=None), cap(budget="full")], 6, False),
        ([cap(ledger_nano=12)], 0, None),
    ],
)
def test_who_refuses(caps, nano, says):
    refusal = refused_by(caps, nano)

    assert (refusal.is_unverifiable if refusal else None) is says


def test_more_than_one_percent_differs():
    assert not differs(100, 101)
    assert differs(100, 102)
    assert not differs(200, 100)
    assert differs(0, 1)


@pytest.mark.parametrize(
    ("caps", "nano", "given"),
    [
        ([cap(limit_nano=10_005)], 1, 100),  # 1 % of what is left
        ([cap(limit_nano=10_005)], 50, 1000),  # twenty calls
        ([cap(limit_nano=10_005)], 600, 600),  # twenty do not fit: one
        ([cap(limit_nano=10_005), cap(limit_nano=1_005)], 10, 200),  # the fullest decides
        ([cap(ledger_nano=None)], 5, 5),
        ([], 5, 5),
    ],
)
def test_how_much_is_given_at_once(caps, nano, given):
    assert slice_nano(caps, nano) == given
