"""An answer of the past, where no model can be in time: a tier that takes no call, and has something to say only sometimes.

Declaring it is what makes a stage keep answers at all. They then also serve equal requests while they are fresh, and for a while
longer while the model is asked again (:mod:`failsoft.policy.answers` has the rule); this tier is the last resort, level 3. Where
topics.yaml has a topic of answers, workers share them.

It is no :class:`~failsoft.endpoints.endpoint.Endpoint`, as :class:`~failsoft.endpoints.constant.Constant` is none.
"""

from dataclasses import dataclass, field

from failsoft.policy.answers import AnswersConfig
from failsoft.policy.durations import Duration, parse_duration

_DEFAULTS = AnswersConfig()


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """Serve what a model has answered to an equal request.

    Which requests are equal is the stage's ``coalesce``.

    Args:
        max_stale: for how long past its freshness an answer serves when no model can be in time.
        ttl: how long an answer is fresh, and serves at once.
        revalidate: for how long past that it still serves at once, while the model is asked again.
        bytes_max: of all answers that one worker keeps.
        enforce: False keeps answers and counts what they would have served, and serves none.

    Raises:
        ConfigurationError: names what is no duration, or cannot work.
    """

    max_stale: Duration = "24h"
    ttl: Duration = "5m"
    revalidate: Duration = "1h"
    bytes_max: int = _DEFAULTS.bytes_max
    enforce: bool = True
    config: AnswersConfig = field(init=False)

    def __post_init__(self) -> None:
        """Check, and have seconds inside."""
        config = AnswersConfig(
            ttl_seconds=parse_duration(self.ttl, field="ttl"),
            revalidate_seconds=parse_duration(self.revalidate, field="revalidate"),
            error_seconds=parse_duration(self.max_stale, field="max_stale"),
            bytes_max=self.bytes_max,
            enforce=self.enforce,
        )
        object.__setattr__(self, "config", config)
