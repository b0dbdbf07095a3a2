"""Is the protection itself alive: ticks, queue, lag of each route, freshness, and who hears if all of it is down."""

from django.http import HttpResponse

from apps.alerts import queries as alerts
from apps.console import observed, queries
from apps.console.presenters import protection
from apps.console.visits import Visit, visited


@visited
def page(visit: Visit) -> HttpResponse:
    key, now = visit.environment.key, visit.now
    pulse = queries.pulse(key, now)
    wrong = alerts.unprotected(key)
    return visit.page(
        "console/protection.html",
        current="protection",
        sentence=protection.sentence(pulse, wrong, now),
        facts=protection.facts(pulse, observed.message_queue(key, now), now),
        wrong=wrong,
        signs=protection.signs(pulse, observed.dead_man(), alerts.channels(key), observed.message_queue(key, now), now),
        lags=[protection.lag_row(one, now) for one in observed.lags(key)],
        shards=protection.shards(observed.shards(), now),
        fresh=[protection.fresh_row(one, now) for one in observed.arrivals(key, now)],
        heard=protection.heard(observed.last_heard(key), now),
    )
