"""Empties the tables after a test with real commits: only those that have rows.

Django's own flush empties all of a hundred tables, and then makes every content type and permission anew.
"""

from functools import cache
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TransactionTestCase

KEPT = {"django_migrations", "django_content_type", "auth_permission"}  # of the code, not of a test


@cache
def tables(alias: str) -> list[str]:
    names = connections[alias].introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(names) - KEPT)


def empty(alias: str) -> None:
    connection = connections[alias]
    quote = connection.ops.quote_name
    asked = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {quote(name)})" for name in tables(alias))
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.execute(asked)
        filled = [name for (name,) in cursor.fetchall()]
        if filled and connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(map(quote, filled))} CASCADE")
        elif filled:
            for name in filled:  # foreign keys are looked at when all is done
                cursor.execute(f"DELETE FROM {quote(name)}")


@pytest.fixture(scope="session", autouse=True)
def quick_emptying() -> Any:
    def fixture_teardown(self: TransactionTestCase) -> None:
        for alias in self._databases_names(include_mirrors=False):
            empty(alias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", fixture_teardown)
        yield
