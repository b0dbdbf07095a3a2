"""The pictures of the documentation: an evening told through the real doors, in a real Chromium.

`PICTURES=docs/images bin/test tests/console/test_pictures.py` writes them anew: ten routes, some minutes;
without it nothing is drawn: the other tests in a browser look at the same pages.
"""

import os
from pathlib import Path

import pytest
from django.utils import timezone

from apps.rollouts import services as rollouts
from tests.browser import collect_wrongs, log_in
from tests.console import make_story

SIZES = {"": {"width": 1440, "height": 900}, "phone-": {"width": 390, "height": 844}}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif("PICTURES" not in os.environ, reason="PICTURES names no folder to draw into"),
]


def test_pictures_of_the_console(chromium, server, environment, alice):
    folder = Path(os.environ["PICTURES"])
    decision = make_story.tell(timezone.now())
    make_story.go_on(timezone.now())  # the telling took its time
    shown = {"now": "/", "route": "/routes/email-tagging/", "decision": f"/d/{decision.id}"}

    for theme in ("light", "dark"):
        for size, viewport in SIZES.items():
            context = chromium.new_context(color_scheme=theme, viewport=viewport, device_scale_factor=1)
            page = context.new_page()
            collect_wrongs(page)
            log_in(page, server.url, alice)
            for name, path in shown.items():
                rollouts.tick(now=timezone.now())  # as the worker does
                page.goto(server.url + path)
                page.wait_for_selector("[data-live-state][data-state=live]", state="attached")
                page.wait_for_timeout(300)  # the charts are drawn again
                page.screenshot(path=folder / f"{size}{name}-{theme}.png", full_page=not size)
                overflow = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
                assert overflow <= 0, f"{size}{name} scrolls sideways"
            assert page.wrongs == []
            context.close()

    assert len(list(folder.glob("*.png"))) >= 12
