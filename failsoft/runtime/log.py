"""Logs of a process: one event a line, on standard error, with fields and without payloads."""

import logging
import sys

import structlog
from structlog.typing import Processor

from failsoft.policy.errors import ConfigurationError


def configure_log(format_: str = "console", *, level: int = logging.INFO) -> None:
    """Send structlog's events and the standard library's records the same way.

    Args:
        format_: "console" for people, "json" for machines.
        level: the least level that is written.
    """
    if format_ not in {"console", "json"}:
        raise ConfigurationError(f"--log-format {format_!r}: it is console or json")
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if format_ == "console"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("aiokafka").setLevel(
        max(level, logging.WARNING)
    )  # it tells each join and every partition at INFO
