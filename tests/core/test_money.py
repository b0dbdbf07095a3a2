from decimal import Decimal

import pytest

from apps.core.money import nano_to_text, usd_to_nano


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.000000001", 1),
        ("12", 12_000_000_000),
        (Decimal("0.0000000005"), 0),
        (Decimal("0.0000000015"), 2),
        (3, 3_000_000_000),
    ],
)
def test_usd_becomes_whole_nano_rounded_half_to_even(usd, nano):
    assert usd_to_nano(usd) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.000000"), (1_234_567, "0.001235"), (500, "0.000000"), (1_500, "0.000002"), (-12_000_000_000, "-12.000000")],
)
def test_money_leaves_as_text_with_six_decimals(nano, text):
    assert nano_to_text(nano) == text
