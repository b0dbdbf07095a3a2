"""Fixtures for tests in a real Chromium. `page.wrongs` must be empty at the end: it collects CSP violations too."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.processes import Server

PATIENCE_MS = 60_000
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")  # Playwright's loop runs as long as it does: no asyncio test could run beside it
def chromium(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium: install the package `chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright's loop runs in this very thread, between our lines: Django takes that for an async context.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = launched(playwright, path, tmp_path_factory.mktemp("home"))
        yield browser
        browser.close()


def launched(playwright: Any, path: str, home: Path) -> "Browser":
    """With a home of its own: it does not start without one that can be written. A start that crashed is tried anew."""
    from playwright.sync_api import Error, expect

    expect.set_options(timeout=PATIENCE_MS)
    options = {"executable_path": path, "args": FLAGS, "env": os.environ | {"HOME": str(home)}, "timeout": PATIENCE_MS}
    try:
        return playwright.chromium.launch(**options)
    except Error:
        return playwright.chromium.launch(**options)


def collect_wrongs(page: Any) -> None:
    page.wrongs = []
    page.on("console", lambda m: page.wrongs.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.wrongs.append(str(e)))


@pytest.fixture
def page(chromium: "Browser") -> "Iterator[Page]":
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    collect_wrongs(page)
    yield page
    page.close()


def log_in(page: Any, url: str, user: User) -> None:
    """Puts the user's session into the browser; for tests that are not about the log-in page itself."""
    client = Client()
    client.force_login(user)
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": url}])


def opened(chromium: "Browser", server: "Server", user: User, path: str, **options: Any) -> Any:
    """A page of the user's in a context of its own, wholly loaded, without motion. Close the context when done."""
    page = chromium.new_context(reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(PATIENCE_MS)
    collect_wrongs(page)
    log_in(page, server.url, user)
    page.goto(server.url + path)
    page.wait_for_load_state("load")
    return page


ALL_DRAWN = """() => matchMedia("(max-width: 699.98px)").matches
    || [...document.querySelectorAll("figure[data-plot]")].every((figure) => figure.querySelector("canvas"))"""


def wait_for_charts(page: Any) -> None:
    """A phone shows their tables."""
    page.wait_for_load_state("load")
    page.wait_for_function(ALL_DRAWN)
