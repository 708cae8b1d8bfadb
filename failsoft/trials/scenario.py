"""What a demo does to a pipeline, phase by phase, and to whom: values only.

The load is open-loop: requests come when they come, whatever the system does, because a client that waits for answers
before it asks again hides every overload. It is measured in the large model's capacity, slots over mean service time; with a
lognormal service time the mean is ``median exp(sigma^2 / 2)``.

Between two phases the load pauses until every request has its result, so that what one phase has left behind does not decide
the figures of the next. How long that took is part of the report.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from failsoft.policy.request import ClassName
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.testing.model_server.settings import DigitReader

LARGE, SMALL = "large", "small"
MODELS: Mapping[str, ModelSettings] = {
    LARGE: ModelSettings(slots=8, queue=8, median_seconds=0.2, digits=DigitReader.TREES),
    SMALL: ModelSettings(slots=16, queue=16, median_seconds=0.04, digits=DigitReader.REGRESSION),
}
"""About 38 and 376 requests a second: three times the large model is what two cores can send, serve and judge at once."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How one class asks.

    Attributes:
        request_class: urgency.
        share: of all requests.
        deadline_seconds: of each.
    """

    request_class: ClassName
    share: float
    deadline_seconds: float


ASKING = (Asking("interactive", 0.3, 5.0), Asking("standard", 0.4, 15.0), Asking("batch", 0.3, 45.0))
"""Deadlines short enough that a demo shows all of them matter, the shortest longer than a takeover from a dead worker."""


NOTHING_WRONG = Faults()


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase.

    Attributes:
        name: of it.
        seconds: how long requests are sent.
        load: how many, in units of the large model's capacity while nothing is wrong with it.
        large: what is wrong with the large model.
        kill_after_seconds: when a worker is killed, and another started; None: not at all.
    """

    name: str
    seconds: float
    load: float
    large: Faults = NOTHING_WRONG
    kill_after_seconds: float | None = None

    @property
    def requests_per_second(self) -> float:
        """How many are sent."""
        return self.load * capacity_per_second(MODELS[LARGE])


FULL = (
    Phase("healthy", 10.0, 0.6),
    Phase("overload", 8.0, 3.0),
    Phase("slow", 8.0, 0.6, Faults(slow=4.0)),
    Phase("hang", 10.0, 0.6, Faults(hang=True)),
    Phase("killed", 12.0, 0.6, kill_after_seconds=2.0),
    Phase("recovered", 15.0, 0.6),
)
"""With the pauses about a minute and a half. Where nothing is overloaded the load is what a service is usually planned for."""
QUICK = (Phase("overload", 8.0, 2.0, kill_after_seconds=4.0),)
"""With a queue in its memory a dying worker has more to lose than its calls."""


def capacity_per_second(model: ModelSettings) -> float:
    """Requests a second that a model can serve."""
    return model.slots / (model.median_seconds * math.exp(model.sigma**2 / 2))
