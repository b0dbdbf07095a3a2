"""Celery's settings, the whole beat table among them. Ticks expire: a worker that was away gets one, not hundreds."""

from typing import Any

from django.conf import settings

broker_url = settings.BROKER
broker_connection_retry_on_startup = True
broker_transport_options = {
    # kombu sweeps for lost messages every interval x throttle seconds, on top of the visibility time-out: set all three
    "visibility_timeout": 120,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "retry_on_timeout": True,
}
task_ignore_result = True
task_acks_late = True
task_reject_on_worker_lost = True
task_acks_on_failure_or_timeout = True
worker_prefetch_multiplier = 1
task_time_limit = 60
task_soft_time_limit = 45
task_serializer = "json"
accept_content = ["json"]
enable_utc = True
worker_hijack_root_logger = False
worker_send_task_events = False
worker_enable_remote_control = False
beat_scheduler = "celery.beat:Scheduler"  # in memory: ticks start anew after a restart, which is right for intervals
beat_max_loop_interval = 1


def every(seconds: float, task: str) -> dict[str, Any]:
    return {"task": task, "schedule": seconds, "options": {"expires": max(seconds, 1.0)}}


beat_schedule = {
    "tick": every(settings.TICK_SECONDS, "apps.rollouts.tasks.tick"),
    "run-due-steps": every(1.0, "apps.rollouts.tasks.run_due_steps"),
    "dispatch-alerts": every(1.0, "apps.alerts.tasks.dispatch"),
    "run-due-changes": every(5.0, "apps.flags.tasks.run_due_changes"),
    "forget-old-alerts": every(3600.0, "apps.alerts.tasks.forget_old"),
    "forget-old-flags": every(3600.0, "apps.flags.tasks.forget_old"),
    "watch-bills": every(600.0, "apps.telemetry.tasks.watch_bills"),
    "keep-up-prices": every(60.0, "apps.catalog.tasks.keep_up"),
    "lay-out-abandoned": every(5.0, "apps.telemetry.tasks.lay_out_abandoned"),
    "roll-up-ledger": every(10.0, "apps.telemetry.tasks.roll_up"),
    "forget-old": every(300.0, "apps.telemetry.tasks.forget_old"),
    "forget-raw-calls": every(30.0, "apps.telemetry.tasks.forget_raw_calls"),
    "expire-holds": every(5.0, "apps.budgets.tasks.expire_holds"),
    "watch-money": every(60.0, "apps.budgets.tasks.watch_money"),
    "forget-old-looks": every(300.0, "apps.budgets.tasks.forget_old"),
}
