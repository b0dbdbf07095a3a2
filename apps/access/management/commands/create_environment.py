from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.access import services
from apps.access.models import slug
from apps.core.actors import person
from apps.core.refusals import Refused


class Command(BaseCommand):
    help = "Makes an environment: it serves an empty snapshot, version 0."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="its short name: lower-case letters, digits and dashes")
        parser.add_argument("--name", help="as people read it (default: the key)")
        parser.add_argument("--production", action="store_true", help="the console marks it, and shows it first")
        parser.add_argument("--protected", action="store_true", help="changes must say which version they are based on")

    def handle(self, *_: Any, key: str, name: str | None, production: bool, protected: bool, **__: Any) -> None:
        try:
            slug(key)
            services.create_environment(
                key=key,
                name=name or key,
                is_production=production,
                is_protected=protected,
                by=person("manage.py"),
                because="made on the command line",
                now=timezone.now(),
            )
        except ValidationError as fault:
            raise CommandError(f"{key}: {fault.message}") from fault
        except Refused as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"environment {key} made")
