"""What aiokafka may say in our logs: nothing below INFO, and no line more than once in ten seconds.

At DEBUG it prints keys, values and whole requests, SASL bytes among them (research/reliability.md A36), so its loggers are
held at INFO whatever the application's root logger says. Cut off from its broker it repeats the same line at every
reconnect, tens a second; of each kind of line one in ten seconds passes, and says how many it stands for.
"""

import logging
import time
from dataclasses import dataclass, field

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
        kind, now = (record.name, str(record.msg)), time.monotonic()
        passed_at, held = self._passed.get(kind, (-self.seconds, 0))
        if now - passed_at < self.seconds:
            self._passed[kind] = (passed_at, held + 1)
            return False
        self._passed[kind] = (now, 0)
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more like it)", None
        return True


_REPEATS = Repeats()


def hold_back_aiokafka() -> None:
    """Apply both rules to aiokafka's loggers; safe to call again."""
    parent = logging.getLogger("aiokafka")
    parent.setLevel(max(logging.INFO, parent.level))
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("aiokafka."):  # a filter holds for its own logger only, not for the ones below it
            logging.getLogger(name).addFilter(_REPEATS)
