from collections.abc import Iterator
from datetime import UTC, datetime

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.contrib.auth.models import User

from apps.access.domain.roles import Role
from apps.access.models import Environment, Grant

# Each run asks the same, however slowly it is answered: what is new in a run is the change that is tested. Other
# questions come with --hypothesis-profile=default, and from the differential tests of sdk/ with CHANGEOVER_SEED.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")
pytest_plugins = ["tests.browser", "tests.emptying", "tests.processes"]

PASSWORD = "correct horse battery"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who opens a page in a browser is a browser test, said or not."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Fifty threads of a test wait for a connection or a lock as long as a slow machine takes; the product does not."""
    options = settings.DATABASES["default"]["OPTIONS"]
    options.get("pool", options)["timeout"] = 60


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """A quarter of a second of processor time each, on purpose: tests need it of none."""
    with pytest.MonkeyPatch.context() as patch:
        for name, cheapest in {"time_cost": 1, "memory_cost": 8, "parallelism": 1}.items():
            patch.setattr(Argon2PasswordHasher, name, cheapest)
        yield


@pytest.fixture(scope="session")
def password_hash() -> str:
    return make_password(PASSWORD)


@pytest.fixture
def environment(db: None, now: datetime) -> Environment:
    return Environment.objects.create(key="production", name="Production", is_production=True, created_at=now)


@pytest.fixture
def alice(db: None, password_hash: str) -> User:
    """She operates, everywhere."""
    user = User.objects.create(username="alice", email="alice@example.com", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.OPERATOR)
    return user


@pytest.fixture
def bob(db: None, password_hash: str) -> User:
    """He views, everywhere."""
    user = User.objects.create(username="bob", email="bob@example.com", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.VIEWER)
    return user


@pytest.fixture
def charlie(db: None, password_hash: str) -> User:
    """A stranger: he can log in, and has no role anywhere."""
    return User.objects.create(username="charlie", email="charlie@example.com", password=password_hash)
