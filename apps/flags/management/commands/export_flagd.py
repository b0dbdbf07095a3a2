import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.models import Environment
from apps.flags import queries


class Command(BaseCommand):
    help = "Writes an environment's newest snapshot as a flagd definition."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", required=True)
        parser.add_argument("--snapshot", type=int, help="an older snapshot instead of the newest")

    def handle(self, *_: Any, **options: Any) -> None:
        key = options["environment"]
        if not Environment.objects.filter(key=key).exists():
            raise CommandError(f"There is no environment {key}.")
        body = queries.snapshot(key, options["snapshot"]).body
        self.stdout.write(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
