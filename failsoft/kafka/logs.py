"""What aiokafka may say in our logs: nothing below INFO, no line more than once in ten seconds, no alarm for what heals.

At DEBUG it prints keys, values and whole requests, SASL bytes among them (research/reliability.md A36), so its loggers are
held at INFO whatever the application's root logger says. Cut off from its broker it repeats the same line at every
reconnect, tens a second; of each kind of line one in ten seconds passes, and says how many it stands for. It logs what it
retries by itself as errors, such as a coordinator that is still loading in a broker just started; that is INFO here. A
connection that cannot be made stays an error.
"""

import logging
import time
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

REPEAT_SECONDS = 10.0
"""Often enough to see that an outage goes on, rare enough to read what else happens."""


@dataclass(slots=True)
class Repeats(logging.Filter):
    """Lets one record of each kind pass in ``seconds``; the next one that passes tells how many were held back."""

    seconds: float = REPEAT_SECONDS
    _passed: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide by logger and template, so that the kinds are as few as the log calls in aiokafka's source."""
        if record.levelno < logging.INFO:
            return False
        if any(_is_retried(argument) for argument in record.args or ()):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        kind, now = (record.name, str(record.msg)), time.monotonic()
        passed_at, held = self._passed.get(kind, (-self.seconds, 0))
        if now - passed_at < self.seconds:
            self._passed[kind] = (passed_at, held + 1)
            return False
        self._passed[kind] = (now, 0)
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more like it)", None
        return True


def _is_retried(argument: object) -> bool:
    """Whether this is an error, or a class of errors, that aiokafka retries by itself."""
    kind = argument if isinstance(argument, type) else type(argument)
    return issubclass(kind, KafkaError) and bool(getattr(kind, "retriable", False))


_REPEATS = Repeats()


def hold_back_aiokafka() -> None:
    """Apply both rules to aiokafka's loggers; safe to call again."""
    parent = logging.getLogger("aiokafka")
    parent.setLevel(max(logging.INFO, parent.level))
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("aiokafka."):  # a filter holds for its own logger only, not for the ones below it
            logging.getLogger(name).addFilter(_REPEATS)
