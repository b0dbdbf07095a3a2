"""Beat's two: judge and act; run the steps that wait. Both may run twice, or late, at no harm."""

from celery import shared_task
from django.utils import timezone

from apps.rollouts import services


@shared_task
def tick(**_: object) -> None:
    services.tick(now=timezone.now())


@shared_task
def run_due_steps(**_: object) -> None:
    services.run_due_steps(now=timezone.now())
