"""Flags for the console's tests: a plain one with rules, a route with a split, an audience, clients and exposures."""

from datetime import timedelta

from apps.core.actors import person
from apps.flags import audiences, services
from tests.flags.make_flags import make_flag, make_route

TOM = person("tom")
RULES = [
    {"name": "Staff", "when": {"all": [{"audience": "staff"}]}, "variant": "on"},
    {
        "name": "Beta plans",
        "when": {"all": [{"attribute": "plan", "operator": "is_one_of", "values": ["beta", "pro"]}]},
        "variant": "on",
    },
]


def make_story(now):
    """`new-parser` with two rules and a quarter on; `invoice-extraction` with a tenth on flash-lite."""
    begin = now - timedelta(minutes=30)
    audiences.create_audience(
        environment="production",
        key="staff",
        conditions={"all": [{"attribute": "mail", "operator": "ends_with", "values": ["@example.com"]}]},
        description="Everybody who works here",
        by=TOM,
        now=begin,
    )
    make_flag("new-parser", by=TOM, now=begin, rules=RULES, owner="payments", description="The parser in Rust")
    services.change_weights(
        environment="production",
        key="new-parser",
        weights={"off": 7500, "on": 2500},
        by=TOM,
        because="A quarter first",
        now=begin + timedelta(minutes=5),
    )
    make_route("invoice-extraction", by=TOM, now=begin)
    services.change_weights(
        environment="production",
        key="invoice-extraction",
        weights={"gpt-4.1": 9000, "flash-lite": 1000},
        by=TOM,
        because="Try it",
        now=begin + timedelta(minutes=6),
    )
    services.note_seen(
        environment="production",
        client={"name": "billing", "sdk": "changeover-python 0.1", "snapshot": 4},
        exposures=[
            {
                "flag": "new-parser", "variant": variant, "count": 12, "snapshot": 4, "assigned_by": "split",
                "subjects": [f"{variant}-user-{n}" for n in range(20)],
            }
            for variant in ("on", "off")
        ],
        now=now - timedelta(seconds=20),
    )  # fmt: skip
    services.note_seen(
        environment="production",
        client={"name": "archive-worker", "sdk": "", "snapshot": 1},
        exposures=[],
        now=now - timedelta(hours=2),
    )
