import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.core.actors import person
from apps.core.refusals import Refused
from apps.flags import importing
from apps.flags.models import Flag


class Command(BaseCommand):
    help = "Takes a flagd definition whole into an environment."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--environment", required=True)
        parser.add_argument(
            "--bucketing",
            choices=Flag.Bucketing.values,
            default=Flag.Bucketing.V2,
            help="how the flags' subjects were bucketed so far: it is pinned, so that nobody moves (default: v2, as the"
            " flagd daemon does)",
        )
        parser.add_argument("--because", default="Imported from flagd.")

    def handle(self, *_: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            document = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError) as fault:
            raise CommandError(f"{file} cannot be read: {fault}") from fault
        try:
            report = importing.import_definition(
                environment=options["environment"],
                document=document,
                bucketing=options["bucketing"],
                by=person("manage.py"),
                because=options["because"],
                now=timezone.now(),
            )
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        for warning in report.warnings:
            self.stderr.write(f"warning: {warning}")
        told = f"{len(report.created)} created, {len(report.changed)} changed"
        self.stdout.write(f"{told}, version {report.published.version}" if report.published else f"{told}: nothing new")
