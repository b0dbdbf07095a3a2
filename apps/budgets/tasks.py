from celery import shared_task
from django.utils import timezone

from apps.budgets import comparing, holding, lateness, services, spending, watching


@shared_task
def forget_old(**_: object) -> None:
    services.forget_looks(now=timezone.now())
    holding.forget_ended(now=timezone.now())


@shared_task
def expire_holds(**_: object) -> None:
    holding.expire(now=timezone.now())


@shared_task
def watch_money(**_: object) -> None:
    """What ticks have no time for: do counts agree, did spend come late, is anything about a route's money odd?"""
    now = timezone.now()
    spending.look_ahead(now=now)
    comparing.compare(now=now)
    lateness.watch(now=now)
    watching.watch(now=now)
