"""Log lines: one shape for ours and for those of libraries, for people or for machines. Whatever looks like a secret is
struck out at the very end, tracebacks too: a fault quotes what it met.
"""

import re
from typing import Any

import structlog
from structlog.typing import Processor

SECRETS = re.compile(
    r"\bco_[\w-]{8,}"  # API keys
    r"|(?<=\bbearer )[^\s\"',]{8,}|(?<=\bbasic )[^\s\"',]{8,}"
    r"|(?<=[?&]token=)[^\s&\"']+",  # of the address of an event stream
    re.IGNORECASE,
)
STRUCK = "[secret]"


def strike(_logger: object, _method: str, line: str) -> str:
    return SECRETS.sub(STRUCK, line)


def setting(level: str, form: str) -> dict[str, Any]:
    """Django's LOGGING, and structlog beside it. `form`: `plain`, else `json`."""
    moment: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True)] if form == "json" else []
    begin: list[Processor] = [structlog.processors.add_log_level, *moment]
    structlog.configure(
        processors=[*begin, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    # Never structlog's own picture of a traceback: it draws every local variable, keys and money among them.
    end: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*begin, structlog.stdlib.add_logger_name],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end, strike],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
    }
