"""An environment as a file, and a file put into effect: the plan, field by field, and then one version.

A dry run is the real thing, rolled back: what it prints is what would happen, refusals included.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from django.db import transaction

from apps.access.models import Environment
from apps.core import sections
from apps.core.actors import Actor
from apps.core.refusals import Invalid, NotFound
from apps.core.sections import Step
from apps.flags import audiences, editing, publishing, requiring
from apps.flags.domain import differences, plain_yaml, prerequisites, segments
from apps.flags.domain import environment_file as file
from apps.flags.domain.differences import Difference
from apps.flags.domain.environment_file import Wanted, WantedFlag
from apps.flags.domain.unfit import Unfit
from apps.flags.models import Audience, Flag, FlagVersion, Route
from apps.flags.publishing import Change, Published

HEAD = """\
# What an environment is meant to be. `manage.py apply -f FILE` puts it into this state; `--dry-run` says how.
# What is absent stands at its default, absent weights stay as they are. Switches, shadow traffic and the weights of
# flags that a rollout holds are no part of it.
"""


@dataclass(slots=True)
class Plan:
    environment: str
    steps: list[Step] = field(default_factory=list)
    published: Published | None = None

    def count(self, action: str) -> int:
        return sum(step.action == action for step in self.steps)

    @property
    def is_empty(self) -> bool:
        return all(step.action == "leave" for step in self.steps)


def export(environment: str) -> str:
    if not Environment.objects.filter(key=environment).exists():
        raise NotFound(what="environment", key=environment)
    rows = Flag.objects.with_route().of(environment).served().order_by("key")
    flags = {row.key: (row.fields, row.route_or_none is not None) for row in rows}
    groups = {row.key: row.fields for row in Audience.objects.of(environment).order_by("key")}
    others = {name: told for name, section in sections.SECTIONS.items() if (told := section.export(environment))}
    held = [f"# {row.key}: {row.held_by} holds its weights.\n" for row in rows if row.held_by]
    return HEAD + "".join(held) + plain_yaml.write(file.document(environment, groups, flags) | others)


@transaction.atomic
def apply(
    *,
    environment: str,
    text: str,
    by: Actor,
    because: str,
    now: datetime,
    prune: bool = False,
    over_rollouts: bool = False,
    reviewed: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Puts the environment into the file's state, in one version. An empty `environment`: the one that it names.

    `prune`: what is not in the file goes. `over_rollouts`: traffic that a rollout moved goes back to what the file
    says. `reviewed`: four eyes have seen the file, which a protected environment asks for.
    """
    with publishing.fit():
        wanted = file.read(plain_yaml.read(text), others=sections.SECTIONS)
        ordered = wanted.in_order()
        if not (environment := environment or wanted.environment):
            raise Unfit("environment", "The file names no environment: add `environment:`, or --environment.")
    change = publishing.begin(environment, by=by, because=because, now=now, approved=True)
    work = Application(change, wanted, over_rollouts=over_rollouts)
    work.set_audiences()
    for one in ordered:
        work.set_flag(one)
    work.rewrite_users()
    work.remove(prune=prune)
    for name, given in wanted.others.items():
        section = sections.SECTIONS[name]
        work.steps += section.apply(environment=environment, wanted=given, by=by, because=because, now=now, prune=prune)
    plan = Plan(environment, sorted(work.steps, key=order))
    if not plan.is_empty:
        if not dry_run:
            change.approved = reviewed
            change.must_be_approved()
        plan.published = work.finish()
    if dry_run:
        transaction.set_rollback(True)
        plan.published = None
    return plan


def order(step: Step) -> tuple[bool, str, str]:
    """Routes and flags by key, then the rest by kind."""
    is_flag = step.kind in ("route", "flag")
    return not is_flag, "" if is_flag else step.kind, step.key


class Application:
    """One file being put into effect, inside its change."""

    def __init__(self, change: Change, wanted: Wanted, *, over_rollouts: bool) -> None:
        self.change, self.wanted, self.over_rollouts = change, wanted, over_rollouts
        self.here = change.environment.key
        rows = Flag.objects.select_for_update(of=("self",)).with_route().of(self.here).order_by("key")
        self.rows = {row.key: row for row in rows}
        self.steps: list[Step] = []
        self.rewritten: set[str] = set()  # flags whose audiences have changed

    # Audiences

    def set_audiences(self) -> None:
        there = {row.key: row for row in Audience.objects.select_for_update().of(self.here)}
        for key, told in self.wanted.audiences.items():
            with in_file("audience", key):
                fields = told | {"conditions": audiences.checked(told["conditions"])}
            row = there.get(key)
            if row is None:
                self.add_audience(key, fields)
            elif changes := differences.between(row.fields, fields):
                self.change_audience(row, fields, changes)

    def add_audience(self, key: str, fields: dict[str, Any]) -> None:
        stamp = {"changed_by": str(self.change.by), "changed_at": self.change.now, "created_at": self.change.now}
        Audience(environment=self.change.environment, key=key, **fields, **stamp).add(because=self.change.because)
        self.steps.append(Step(action="add", kind="audience", key=key, changes=differences.between({}, fields)))

    def change_audience(self, row: Audience, fields: dict[str, Any], changes: Difference) -> None:
        users = audiences.users(row)
        if held := [f"{flag.key}, which {flag.held_by} holds" for flag in users if flag.held_by]:
            note = f"left as it is: it is used by {', '.join(held)}"
            self.steps.append(Step(action="leave", kind="audience", key=row.key, changes=changes, notes=(note,)))
            return
        row.change(by=str(self.change.by), at=self.change.now, because=self.change.because, **fields)
        self.rewritten |= {flag.key for flag in users}
        self.steps.append(Step(action="change", kind="audience", key=row.key, changes=changes))

    # Flags

    def set_flag(self, one: WantedFlag) -> None:
        row = self.rows.get(one.key)
        with in_file("route" if one.is_route else "flag", one.key):
            if row is None:
                self.add_flag(one)
            else:
                self.change_flag(row, one)

    def add_flag(self, one: WantedFlag) -> None:
        flag = add(self.change, one)
        self.rows[one.key] = flag
        told = differences.between({}, file.flag_entry(flag.fields, one.is_route))
        self.steps.append(Step(action="add", kind=kind_of(flag), key=flag.key, changes=told))

    def change_flag(self, flag: Flag, one: WantedFlag) -> None:
        if (flag.route_or_none is not None) is not one.is_route:
            raise Unfit("key", f"It is a {kind_of(flag)} here, and stays one.")
        for name in file.PINNED:
            if one.fields[name] != getattr(flag, name):
                raise Unfit(name, f"Its {name} is {getattr(flag, name)} for life: another would move its subjects.")
        given = wanted_changes(flag, one)
        weights = one.weights if one.weights is not None and some(one.weights) != some(flag.weights) else None
        notes: list[str] = []
        if flag.held_by:
            kept = {name: value for name, value in given.items() if name in editing.FREE_WHILE_HELD}
            left = [*(name for name in given if name not in kept), *(["weights"] if weights is not None else [])]
            if left:
                notes.append(f"{flag.held_by} holds it: {', '.join(left)} left as they are")
            given, weights = kept, None
        elif self.over_rollouts or (weights is None and "default_variant" not in given):
            pass
        elif mover := last_mover(flag):  # a file from before a rollout never carries the old traffic back in
            notes.append(f"{mover} moved its traffic: default_variant and weights left as they are")
            given.pop("default_variant", None)
            weights = None
        before, is_back = flag.fields, flag.archived_at is not None
        if given or weights is not None or is_back or flag.key in self.rewritten:
            self.write(flag, one, given, weights, is_back=is_back)
        changes = differences.between(before, flag.fields)
        changes.pop("archived_at", None)
        if is_back or changes or flag in self.change.changed:
            action = "bring_back" if is_back else "change"
            self.steps.append(
                Step(action=action, kind=kind_of(flag), key=flag.key, changes=changes, notes=tuple(notes))
            )
        elif notes:
            self.steps.append(Step(action="leave", kind=kind_of(flag), key=flag.key, notes=tuple(notes)))

    def write(
        self, flag: Flag, one: WantedFlag, given: dict[str, Any], weights: Mapping[str, int] | None, *, is_back: bool
    ) -> None:
        given = dict(given)
        if is_back:
            self.change.set(flag, archived_at=None)
        if is_back or flag.key in self.rewritten:  # written anew, with the audiences and flags as they are now
            if flag.rules and not {"rules", "targeting"} & set(given):
                given["rules"] = flag.rules
            if flag.prerequisites:
                given.setdefault("prerequisites", flag.prerequisites)
        if not one.as_imported:
            return editing.update(self.change, flag, given, expected=None, weights=weights)
        if "rules" in given or "targeting" in given:
            values, written = one.fields["variants"], given.get("rules")
            if written:
                given["targeting"], given["rules"] = editing.rules_of(flag, {"rules": written}, values, is_route=False)
            else:
                given["targeting"], given["rules"] = given.get("targeting") or {}, None if "targeting" in given else []
        if weights is not None:
            given["segments"] = editing.reweighed(
                flag, weights, values=one.fields["variants"], default=one.fields["default_variant"]
            )
        self.change.set(flag, **given)

    def rewrite_users(self) -> None:
        """Flags that the file does not name, but whose audience it has changed."""
        for key in sorted(self.rewritten - set(self.wanted.flags)):
            flag = self.rows[key]
            before = flag.targeting
            editing.update(self.change, flag, {"rules": flag.rules}, expected=None)
            changes = {"targeting": {"was": before, "is": flag.targeting}}
            self.steps.append(Step(action="change", kind=kind_of(flag), key=key, changes=changes))

    # What the file does not name

    def remove(self, *, prune: bool) -> None:
        extra = [key for key, row in self.rows.items() if key not in self.wanted.flags and row.archived_at is None]
        edges = requiring.edges(self.here)
        for key in reversed(prerequisites.in_order(edges, extra)):  # who requires goes before what is required
            flag = self.rows[key]
            if not prune or flag.held_by:
                why = f"{flag.held_by} holds it" if flag.held_by else "not in the file; --prune archives it"
                self.steps.append(Step(action="leave", kind=kind_of(flag), key=key, notes=(why,)))
                continue
            if others := requiring.requirers(flag):
                raise Unfit("prerequisites", f"{key} is not in the file, but {others[0].key} requires it.")
            self.change.set(flag, archived_at=self.change.now)
            self.steps.append(Step(action="archive", kind=kind_of(flag), key=key))
        for row in Audience.objects.of(self.here).exclude(key__in=list(self.wanted.audiences)).order_by("key"):
            used = [flag.key for flag in row.flags.order_by("key")]
            if prune and not used:
                row.delete()
                self.steps.append(Step(action="delete", kind="audience", key=row.key))
            else:
                why = f"{', '.join(used)} uses it" if used else "not in the file; --prune deletes it"
                self.steps.append(Step(action="leave", kind="audience", key=row.key, notes=(why,)))

    def finish(self) -> Published:
        """One version for all that changed. What no snapshot carries, like an unused audience, is only recorded."""
        change = self.change
        told = [step for step in self.steps if step.action != "leave"]
        change.before = {f"{step.key}.{name}": one["was"] for step in told for name, one in step.changes.items()}
        change.after = {f"{step.key}.{name}": one["is"] for step in told for name, one in step.changes.items()}
        change.after |= {step.key: step.action for step in told if step.action != "change"}
        change.changed = list({flag.pk: flag for flag in change.changed}.values())
        if change.changed:
            return change.publish("environment.applied", about={})
        change.version = change.environment.snapshot_version
        return change.record("environment.applied", {})


@contextmanager
def in_file(kind: str, key: str) -> Iterator[None]:
    """Says which entry of the file it was that did not fit."""
    try:
        with publishing.fit():
            yield
    except Invalid as invalid:
        raise Invalid(f"{kind} {key}: {invalid}", **invalid.errors) from invalid


def add(change: Change, one: WantedFlag) -> Flag:
    """The row of a flag that is not there yet, and its route's."""
    flag = (imported if one.as_imported else checked)(change, one)
    if one.is_route:
        flag.segments = segments.whole(flag.default_variant)
    if one.split is not None:
        flag.segments = [list(part) for part in one.split]
    elif one.weights is not None:
        start = segments.whole(flag.default_variant)
        flag.segments = editing.reweighed(flag, one.weights, split=start)
    flag.encode()
    if one.is_route:
        route = Route(flag=flag, **{name: one.fields[name] for name in file.OF_ROUTES})
        editing.must_name(flag.variants, flag.default_variant, "default_variant")
        editing.must_name(flag.variants, route.fallback_variant, "fallback_variant", or_none=True)
        served = {str(part[0]) for part in flag.segments}
        editing.must_not_be_preview(flag, route, flag.default_variant, route.fallback_variant, *served)
        flag.add()
        route.add()
    else:
        flag.add()
    change.add(flag)
    return flag


def checked(change: Change, one: WantedFlag) -> Flag:
    fields = {name: value for name, value in one.fields.items() if name not in file.OF_ROUTES} | {
        "expires_on": day(one.fields["expires_on"])
    }
    fields.pop("targeting" if one.fields["rules"] is not None else "rules")
    given = {"targeting": None, "rules": None} | fields
    return editing.new_flag(change, key=one.key, is_route=one.is_route, **given)


def imported(change: Change, one: WantedFlag) -> Flag:
    """As flagd takes it: nothing is checked, so that nothing changes its meaning."""
    stamp = {"changed_by": str(change.by), "changed_at": change.now, "created_at": change.now}
    fields = {name: value for name, value in one.fields.items() if name not in file.OF_ROUTES}
    fields["expires_on"] = day(fields["expires_on"])
    flag = Flag(
        environment=change.environment, key=one.key, since_version=change.version, revision=1, **fields, **stamp
    )  # fmt: skip
    if flag.rules:
        flag.targeting, flag.rules = editing.rules_of(flag, {"rules": flag.rules}, flag.variants, is_route=False)
    return flag


def wanted_changes(flag: Flag, one: WantedFlag) -> dict[str, Any]:
    """The fields that the file wants otherwise, as a service takes them."""
    now, given = flag.fields, dict[str, Any]()
    for name, value in one.fields.items():
        if name not in (*file.PINNED, "rules", "targeting") and not differences.same(now[name] or None, value or None):
            given[name] = day(value) if name == "expires_on" else value
    if one.fields["rules"] is None:
        if now["rules"] is not None or not differences.same(now["targeting"], one.fields["targeting"]):
            given["targeting"] = one.fields["targeting"]
    elif now["rules"] is None or not differences.same(now["rules"], one.fields["rules"]):
        given["rules"] = one.fields["rules"]
    return given


def day(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None


def kind_of(flag: Flag) -> str:
    return "route" if flag.route_or_none else "flag"


def some(weights: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in weights.items() if size}


def last_mover(flag: Flag) -> str:
    """The rollout that last decided where this flag's traffic goes; empty if a person did."""
    versions = FlagVersion.objects.of(flag).newest_first()
    for after, before in pairwise(versions.iterator(chunk_size=100)):
        if any(after.fields.get(name) != before.fields.get(name) for name in ("default_variant", "segments")):
            return str(after.fields.get("held_by") or "")
    return ""
