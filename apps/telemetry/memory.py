"""What a writer keeps in memory between two commit groups: routes with their splits, prices, token histories."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from apps.access.models import Environment
from apps.catalog import queries as catalog
from apps.catalog.domain.pricing import PriceBook
from apps.core.ids import new_id
from apps.flags import queries as flags
from apps.telemetry.domain.gathering import NEVER, Gathering
from apps.telemetry.domain.model_names import plain_name
from apps.telemetry.domain.pricing import EVERYWHERE, TokenHistory
from apps.telemetry.domain.recent import RecentIds
from apps.telemetry.domain.routes import UNASSIGNED, RouteFacts, Split
from apps.telemetry.models import Endpoint, Mapping, RouteTokens

LOOK_AT_PRICES = timedelta(seconds=5)
SAVE_HISTORIES = timedelta(seconds=5)
HISTORIES_AT_ONCE = 20  # of a commit group: those who wait for it would wait for all of them
NOTE_CLIENTS = timedelta(seconds=1)
FRESHEN = timedelta(seconds=1)
MOST_ROUTES = 10_000

RouteKey = tuple[str, str]
ClientKey = tuple[str, str, str]


class WriterMemory:
    """Of one writer thread, from its start to its end. `seq` numbers its commit groups."""

    def __init__(self) -> None:
        self.id = new_id()
        self.seq = 0
        self.versions: dict[str, int] = {}
        self.routes: dict[str, dict[str, RouteFacts]] = {}
        self.histories: dict[RouteKey, TokenHistory] = {}
        self.unsaved: set[RouteKey] = set()
        self.saved_at: dict[RouteKey, datetime] = {}
        self.book: PriceBook | None = None
        self.looked_at_prices_at: datetime | None = None
        self.gateways: set[str] = set()  # environments that have one
        self.looked_for_gateways_at: datetime | None = None
        self.rules: dict[str, dict[tuple[str, str], str]] = {}  # (service, model) -> route
        self.endpoints: dict[str, dict[str, str]] = {}  # hosts -> who answers there
        self.clients: dict[ClientKey, tuple[int | None, datetime]] = {}
        self.fresh_at: dict[RouteKey, datetime] = {}
        self.gathering = Gathering()
        self.recent = RecentIds(timedelta(hours=settings.DEDUPE_HOURS))

    def route(self, environment: str, route: str) -> RouteFacts:
        return self.routes[environment].get(route, UNASSIGNED)

    def history(self, environment: str, route: str) -> TokenHistory:
        return self.histories.get((environment, route)) or self.histories.setdefault(
            (environment, route), TokenHistory()
        )

    def refresh(self, environments: set[str], routes: set[RouteKey], now: datetime) -> PriceBook:
        """In the group's own transaction: a call decided by a snapshot finds that snapshot's split."""
        for environment, version in snapshot_versions(environments):
            if self.versions.get(environment) != version:
                self.routes[environment] = load_routes(environment)
                self.versions[environment] = version
        for environment in environments - self.routes.keys():  # gone since the key ring looked
            self.routes[environment] = {}
        self.load_histories(routes | {(environment, EVERYWHERE) for environment in environments})
        return self.refresh_prices(now)

    def refresh_prices(self, now: datetime) -> PriceBook:
        if self.looked_at_prices_at is None or now - self.looked_at_prices_at >= LOOK_AT_PRICES:
            if self.book is None or self.book.version != catalog.price_version():
                self.book = catalog.price_book()
            self.rules = {}
            for rule in Mapping.objects.order_by("at", "id"):  # of two spellings of a model the newer one counts
                self.rules.setdefault(rule.environment, {})[rule.service, plain_name(rule.model)] = rule.route
            self.endpoints = {}
            for environment, host, provider in Endpoint.objects.values_list("environment", "host", "provider"):
                self.endpoints.setdefault(environment, {})[host] = provider
            self.looked_at_prices_at = now
        return self.price_book

    @property
    def price_book(self) -> PriceBook:
        assert self.book is not None
        return self.book

    def load_histories(self, routes: set[RouteKey]) -> None:
        missing = routes - self.histories.keys()
        if not missing:
            return
        if len(self.histories) > MOST_ROUTES:
            self.histories = {key: self.histories[key] for key in routes & self.histories.keys()}
            self.saved_at = {key: self.saved_at[key] for key in routes & self.saved_at.keys()}
        for environment in {environment for environment, _ in missing}:
            names = [route for of, route in missing if of == environment]
            for row in RouteTokens.objects.filter(environment=environment, route__in=names):
                self.histories[environment, row.route] = TokenHistory(row.inputs, row.outputs, row.models)
        for key in missing - self.histories.keys():
            self.histories[key] = TokenHistory()

    def histories_to_save(
        self, learned: Iterable[RouteKey], now: datetime, *, most: int = HISTORIES_AT_ONCE
    ) -> list[RouteKey]:
        """Each now and then: an estimate bears to miss the newest seconds of history after a restart.

        In one order for all writers, so that none waits for another that waits for it."""
        self.unsaved = (self.unsaved | set(learned)) & self.histories.keys()
        last = {key: self.saved_at.get(key, NEVER) for key in self.unsaved}
        due = [key for key, at in last.items() if now - at >= SAVE_HISTORIES]
        return sorted(sorted(due, key=last.__getitem__)[:most])

    def histories_are_saved(self, keys: Collection[RouteKey], now: datetime) -> None:
        self.unsaved.difference_update(keys)
        self.saved_at.update(dict.fromkeys(keys, now))

    def to_freshen(self, touched: Iterable[RouteKey], now: datetime) -> list[RouteKey]:
        """Routes of which it was not said lately that something came. In one order for all writers."""
        return sorted(key for key in touched if now - self.fresh_at.get(key, NEVER) >= FRESHEN)

    def are_fresh(self, routes: Iterable[RouteKey], now: datetime) -> None:
        if len(self.fresh_at) > MOST_ROUTES:
            self.fresh_at.clear()
        self.fresh_at.update(dict.fromkeys(routes, now))

    def is_news_of(self, client: ClientKey, snapshot: int | None, now: datetime) -> bool:
        """Has this client another snapshot, or not been noted for a while?"""
        known = self.clients.get(client)
        return known is None or known[0] != snapshot or now - known[1] >= NOTE_CLIENTS


def snapshot_versions(environments: Collection[str]) -> list[tuple[str, int]]:
    """Asked for every commit group: without what a queryset costs."""
    if not environments:
        return []
    marks = ", ".join(["%s"] * len(environments))
    with connection.cursor() as cursor:
        table = Environment._meta.db_table
        cursor.execute(f"SELECT key, snapshot_version FROM {table} WHERE key IN ({marks})", list(environments))
        return [(key, version) for key, version in cursor.fetchall()]


def load_routes(environment: str) -> dict[str, RouteFacts]:
    splits: dict[str, list[Split]] = {}
    for split in flags.splits(environment):
        told = Split(split.since_version, split.trial, split.kind, split.published_at)
        splits.setdefault(split.flag, []).append(told)
    return {
        route.key: RouteFacts.of(route.owner, route.variants, splits.get(route.key, ()))
        for route in flags.routes(environment)
    }
