"""Spans of our own work. Nothing of OpenTelemetry is imported and nothing is made until `tracer` is set, which
`controlplane.otel` does where an endpoint is configured.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

tracer: "Tracer | None" = None
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def traced(name: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Each call of the function is a span; inside, `note` adds to it."""

    def around(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @functools.wraps(work)
        def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            if tracer is None:
                return work(*args, **kwargs)
            from opentelemetry import trace

            # Not the words of a fault: a database quotes the value that it does not take.
            with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
                try:
                    return work(*args, **kwargs)
                except Exception as fault:
                    span.set_status(trace.StatusCode.ERROR, type(fault).__name__)
                    raise

        return called

    return around


def note(**facts: str | int | float) -> None:
    """Facts of the span that is open. Nothing that a caller made up, no secret and no prompt."""
    if tracer is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes({f"changeover.{name}": fact for name, fact in facts.items()})
