"""The fixtures that other tests stand on: a real web process, a real worker, a real browser."""

import subprocess
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse

from tests.browser import log_in
from tests.processes import Server, eventually


def test_the_server_sees_the_rows_of_the_test(server: Server, alice: User) -> None:
    status, headers, body = server.request("GET", reverse("login"))

    assert status == 200
    assert "text/html" in headers["content-type"]
    assert b"Log in" in body


def test_a_page_opens_in_chromium_without_a_wrong(server: Server, page: Any) -> None:
    page.goto(f"{server.url}{reverse('login')}")

    assert page.locator("h1").inner_text() == "Log in"
    assert page.wrongs == []


def test_a_person_can_be_logged_in(server: Server, page: Any, alice: User) -> None:
    log_in(page, server.url, alice)

    answer = page.goto(f"{server.url}/admin/")

    assert answer.status == 200
    assert "alice" in page.content()


def test_a_worker_is_there_to_do_what_is_sent(worker: subprocess.Popen[bytes]) -> None:
    from controlplane.celery import app

    app.send_task("celery.backend_cleanup")  # the one task that Celery brings itself
    with app.connection_for_read() as broker:
        eventually(lambda: not broker.default_channel.client.llen("celery"), 90)

    assert worker.poll() is None
