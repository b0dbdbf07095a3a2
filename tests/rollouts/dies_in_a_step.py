"""Run by a test as a process of its own: runs the steps that are due, and is killed in the middle of one."""

import os
import signal
import sys
from datetime import datetime

import django

django.setup()

from apps.rollouts import services, steps  # noqa: E402


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


where, now = sys.argv[1], datetime.fromisoformat(sys.argv[2])
if where == "in-the-transaction":  # settled and not committed: the publish is under way
    steps.traffic.stop_shadow = die
elif where == "after-the-publish":
    publish = steps.traffic.stop_shadow

    def publish_and_die(*args, **more):
        publish(*args, **more)
        die()

    steps.traffic.stop_shadow = publish_and_die
else:  # claimed, and nothing done yet
    steps.run = die
services.run_due_steps(now)
