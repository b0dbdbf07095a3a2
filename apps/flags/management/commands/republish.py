from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.core.actors import person
from apps.core.refusals import Refused
from apps.flags import republishing


class Command(BaseCommand):
    help = "After the database was restored: publishes what it has beyond the versions that were served and are lost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", required=True)
        parser.add_argument(
            "--above",
            type=int,
            default=0,
            help="the greatest version that was served: /readyz names it, and so do clients",
        )
        parser.add_argument("--because", default="The database was restored.")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            published = republishing.republish(
                environment=options["environment"],
                above=options["above"],
                by=person("manage.py"),
                because=options["because"],
                now=timezone.now(),
            )
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        self.stdout.write(f"{options['environment']} is at version {published.version}.")
