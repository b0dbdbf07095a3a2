"""A copy of a flag: everything that a person set, under another key or in another environment.

The salt travels along, so that a subject lies where it lies in the original, wherever its hash can say so. Nothing
that is an act comes with it: no switch, no shadow, no hold, and no weights that a rollout has moved and still holds.
"""

from datetime import datetime

from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import AlreadyThere, NotFound
from apps.flags import environment_file, publishing
from apps.flags.domain import environment_file as file
from apps.flags.domain import prerequisites, variants
from apps.flags.models import Flag
from apps.flags.publishing import Published
from apps.flags.queries import FlagView


@transaction.atomic
def copy_flag(
    *, environment: str, key: str, to: str, by: Actor, because: str, now: datetime, to_environment: str = ""
) -> Published:
    """Its audiences and the flags that it requires must be where it goes; else that is the refusal."""
    change = publishing.begin(to_environment or environment, by=by, because=because, now=now)
    original = Flag.objects.with_route().of(environment).named(key).first()
    if original is None:
        raise NotFound(what="flag", key=key)
    is_route = original.route_or_none is not None
    entry = file.flag_entry(original.fields, is_route) | {"salt": to if hashes_its_key(original) else original.salt}
    with publishing.fit():
        wanted = file.read_flag(variants.check_key(to), entry, is_route)
        if Flag.objects.of(change.environment.key).filter(key=to).exists():
            raise AlreadyThere(what="flag", key=to)
        made = environment_file.add(change, wanted)
    change.before, change.after = {"copied_from": f"{key} in {environment}"}, made.fields
    return change.publish("route.copied" if is_route else "flag.copied")


def hashes_its_key(flag: Flag | FlagView) -> bool:
    """An expert's rule that hashes or reads its own flag's key: clients of flagd know no other salt for it."""
    return flag.rules is None and prerequisites.depends_on_key(flag.targeting)


def draws_anew(flag: FlagView) -> bool:
    """Whether a copy under another key divides its subjects otherwise: v3 hashes key and subject as two texts."""
    by_key = flag.bucketing == Flag.Bucketing.V3 and flag.salt == flag.key
    is_split = flag.is_split or prerequisites.is_random(flag.targeting)
    return hashes_its_key(flag) or (is_split and by_key)
