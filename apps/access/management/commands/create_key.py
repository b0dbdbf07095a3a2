from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.access import services
from apps.access.domain.roles import KeyScope
from apps.access.models import Environment
from apps.core.actors import person
from apps.core.refusals import Refused


class Command(BaseCommand):
    help = "Makes an API key and prints it, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--scope", action="append", required=True, choices=[scope.value for scope in KeyScope])

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(key=options["environment"]).first()
        if environment is None:
            key = options["environment"]
            raise CommandError(f"There is no environment {key}. To make it: manage.py create_environment {key}")
        try:
            _, secret = services.create_key(
                environment=environment,
                name=options["name"],
                scopes=options["scope"],
                by=person("manage.py"),
                because="made on the command line",
                now=timezone.now(),
            )
        except Refused as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(secret)
