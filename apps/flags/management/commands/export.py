from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.models import Environment
from apps.core.refusals import Refused
from apps.flags import environment_file


class Command(BaseCommand):
    help = "Prints an environment's flags, routes and audiences as YAML, for `apply` and for Git."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", help="which one; needed where there are several")

    def handle(self, *_: Any, environment: str | None, **__: Any) -> None:
        if environment is None:
            keys = list(Environment.objects.shown().order_by("key").values_list("key", flat=True))
            if len(keys) != 1:
                raise CommandError(f"Which environment? --environment {' | '.join(keys) or 'E'}")
            (environment,) = keys
        try:
            self.stdout.write(environment_file.export(environment), ending="")
        except Refused as refused:
            raise CommandError(refused.detail) from refused
