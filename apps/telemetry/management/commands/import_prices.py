from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.catalog import price_lists, queries, shipped
from apps.catalog.domain.differences import Difference
from apps.catalog.models import PriceList
from apps.core.actors import person
from apps.core.money import nano_to_text
from apps.core.refusals import Refused
from apps.telemetry import repricing
from apps.telemetry.repricing import Change

SIGNS = {"new": "+", "changed": "~", "gone": "-"}


class Command(BaseCommand):
    help = "Proposes the installed price library's data as a price list, which waits for another person's approval."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print what it would change, and change nothing")
        parser.add_argument("--because", default="", help="for the journal")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        if PriceList.objects.in_force() is None and not options["dry_run"]:
            first = price_lists.take_first(now=now)
            self.stdout.write(f"{first.source} is in force: the first list comes with the product.")
        prices = price_lists.draft(now=now)
        found = queries.difference_of(prices, now)
        for line in told(found, repricing.effect(prices, now) if found else []):
            self.stdout.write(line)
        if options["dry_run"]:
            return
        try:
            row = price_lists.propose(by=person("manage.py"), because=options["because"] or "Imported.", now=now)
        except price_lists.NothingNew:
            return
        except Refused as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(
            f"{row.id} waits for approval: on the page Prices, or POST /api/v1/price-lists/{row.id}/approve/"
        )


def told(found: Sequence[Difference], effect: Iterable[Change]) -> Iterable[str]:
    """A line for each model, with its effect where it was used."""
    changes = {(change.provider, change.model): change for change in effect}
    for one in found:
        change = changes.get((one.provider, one.model))
        used = f"  [{change.calls} calls in 30 days, {signed(change)} USD]" if change else ""
        yield f"{SIGNS[one.kind]} {one.provider}/{one.model}{used}"
        yield from (f"    was {line}" for line in one.before)
        yield from (f"    is  {line}" for line in one.after)
    total = sum(change.difference_nano for change in changes.values())
    differ = f"{shipped.source()}: {len(found)} models differ from the list in force"
    yield f"{differ}; {nano_to_text(total)} USD over the last 30 days."


def signed(change: Change) -> str:
    return f"{'+' if change.difference_nano >= 0 else ''}{nano_to_text(change.difference_nano)}"
