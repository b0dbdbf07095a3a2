import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.core.actors import person
from apps.core.refusals import Refused
from apps.core.sections import Step
from apps.flags import environment_file
from apps.flags.environment_file import Plan

SIGNS = {"add": "+", "change": "~", "bring_back": "+", "archive": "-", "delete": "-", "leave": "="}
CHANGES = 2  # what --exit-code says of a plan that is not empty; a refusal is 1, as of any command
WORDS = {"bring_back": "brought back", "archive": "archived", "delete": "deleted", "leave": "left as it is"}


class Command(BaseCommand):
    help = "Puts an environment into the state that a YAML file describes, in one version. Says what it does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("-f", "--file", required=True, help="as `export` prints it; - is the standard input")
        parser.add_argument("--environment", default="", help="another one than the file names")
        parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        parser.add_argument("--prune", action="store_true", help="archive flags and delete audiences not in the file")
        parser.add_argument(
            "--over-rollouts", action="store_true", help="take back traffic that a finished rollout has moved"
        )
        parser.add_argument(
            "--reviewed", metavar="WHERE", default="", help="where four eyes approved the file: for a protected one"
        )
        parser.add_argument(
            "--exit-code", action="store_true", help="with --dry-run: 2 if something would change, 0 if nothing would"
        )
        parser.add_argument("--because", default="", help="for the journal")

    def handle(self, *_: Any, **options: Any) -> None:
        reviewed = options["reviewed"]
        try:
            plan = environment_file.apply(
                environment=options["environment"],
                text=text_of(options["file"]),
                by=person("manage.py"),
                because=options["because"]
                or (f"Reviewed: {options['reviewed']}" if options["reviewed"] else "Applied."),
                now=timezone.now(),
                prune=options["prune"],
                over_rollouts=options["over_rollouts"],
                reviewed=bool(reviewed),
                dry_run=options["dry_run"],
            )
        except Refused as refused:
            how = " Or --reviewed WHERE, if the file was." if refused.code == "change_request_needed" else ""
            raise CommandError(refused.detail + how) from refused
        for line in lines(plan, dry_run=options["dry_run"]):
            self.stdout.write(line)
        if options["dry_run"] and options["exit_code"] and not plan.is_empty:
            sys.exit(CHANGES)


def text_of(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise CommandError(f"{name} cannot be read: {fault}") from fault


def lines(plan: Plan, *, dry_run: bool) -> Iterator[str]:
    for step in plan.steps:
        yield from told(step)
    gone = plan.count("archive") + plan.count("delete")
    sums = f"{plan.count('add') + plan.count('bring_back')} to add, {plan.count('change')} to change, {gone} to remove"
    if plan.is_empty:
        yield f"{plan.environment}: nothing to do."
    elif dry_run:
        yield f"{plan.environment}: {sums}. Nothing was changed."
    elif plan.published:
        yield f"{plan.environment}: {sums}: done, version {plan.published.version}."


def told(step: Step) -> Iterator[str]:
    words = f" ({WORDS[step.action]})" if step.action in WORDS else ""
    yield f"{SIGNS[step.action]} {step.kind} {step.key}{words}"
    for name, change in step.changes.items():
        yield from field(f"    {name}", change["was"], change["is"], whole=step.action == "add")
    for note in step.notes:
        yield f"    ! {note}"


def field(name: str, was: Any, now: Any, *, whole: bool) -> Iterator[str]:
    """Objects entry by entry, so that one changed timeout among ten variants is seen."""
    if isinstance(was, dict) and isinstance(now, dict):
        for part in [*was, *(one for one in now if one not in was)]:
            if was.get(part) != now.get(part) or (part in was) != (part in now):
                yield f"{name}.{part}: {shown(was, part)} → {shown(now, part)}"
        if list(was) != list(now) and was == now:
            yield f"{name}: in the order {', '.join(now)}"
    elif whole:
        yield f"{name}: {text(now)}"
    else:
        yield f"{name}: {text(was)} → {text(now)}"


def shown(values: dict[str, Any], name: str) -> str:
    return text(values[name]) if name in values else "(none)"


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
