"""`manage.py recheck DECISION`: the verdict and the sentence of a decision again, from its stored evidence alone."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.refusals import NotFound
from apps.rollouts import queries, rechecking


class Command(BaseCommand):
    help = "Recomputes a decision's verdict and sentence from its stored evidence."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("decision", help="id of the decision")
        parser.add_argument("--json", action="store_true", help="print the whole result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            decision = queries.decision(options["decision"])
        except NotFound as unknown:
            raise CommandError(str(unknown)) from unknown
        found = rechecking.recheck(decision)
        if options["json"]:
            self.stdout.write(json.dumps(found.as_dict(), indent=2, default=str))
        else:
            self.stdout.write(found.sentence)
            for line in found.lines:
                self.stdout.write(f"  {line}")
        if not found.holds:
            raise CommandError(
                "Recomputed from the stored evidence it comes out another: " + " ".join(found.differences)
            )
        self.stdout.write("Recomputed from stored evidence: the same verdict, the same sentence.")
