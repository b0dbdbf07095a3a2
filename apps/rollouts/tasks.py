"""Beat's two: judge and act; run the steps that wait. Both may run twice, or late, at no harm."""

from celery import shared_task
from django.utils import timezone

from apps.core import metrics, spans
from apps.rollouts import services


@shared_task
@spans.traced("tick")
def tick(**_: object) -> None:
    with metrics.ticks.time():
        ticked = services.tick(now=timezone.now())
    metrics.looks.inc(ticked.judged)
    metrics.faults.inc(ticked.faults)
    spans.note(shards=ticked.shards, looks=ticked.judged, decisions=len(ticked.acted), faults=ticked.faults)


@shared_task
def run_due_steps(**_: object) -> None:
    services.run_due_steps(now=timezone.now())
