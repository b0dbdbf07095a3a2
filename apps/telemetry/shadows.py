"""What people say of calls that a gateway seems to have mirrored without a mark.

A confirmed one is a shadow call: its money moves, by two more lines of the ledger, to the arm `shadow` of the rollout
under way when it was made, where the shadow's own cap counts it. Windows stay as they are: latencies cannot be moved.
"""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from apps.core.actors import Actor
from apps.core.refusals import NotFound, Refused
from apps.journal import services as journal
from apps.telemetry import tracing, writing
from apps.telemetry.domain.fold import Fold
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import SuspectedShadow

SHADOW, LIVE = "shadow", "live"
KINDS = {SHADOW: "telemetry.shadow_confirmed", LIVE: "telemetry.shadow_dismissed"}


class AlreadySettled(Refused):
    code = "already_settled"
    sentence = "{found.by} has said that this call is {found.answer}."
    status = 409


@transaction.atomic
def settle(*, environment: str, call_id: str, said: str, by: Actor, because: str, now: datetime) -> SuspectedShadow:
    found = SuspectedShadow.objects.select_for_update().filter(environment=environment, call_id=call_id).first()
    if found is None:
        raise NotFound(what="suspected shadow", key=call_id)
    if said not in KINDS:
        raise NotFound(what="answer", key=said)
    if found.answer:
        raise AlreadySettled(found=found)
    if said == SHADOW:
        move_money(found, now)
    found.settle(said, by=str(by), at=now)
    about = {"route": found.route, "call": found.call_id, "model": found.model}
    journal.record(KINDS[said], environment=environment, by=by, because=because, about=about, now=now, after=said)
    return found


def move_money(found: SuspectedShadow, now: datetime) -> None:
    writer = WriterMemory()
    writer.seq += 1
    book = writer.refresh({found.environment}, {(found.environment, found.route)}, now)
    fold = Fold(writer, book, window_seconds=settings.WINDOW_SECONDS, arrived_at=now.timestamp())
    tracing.move_to_shadow(found, fold, writer, now)
    writing.write_all(fold, writer, now)
