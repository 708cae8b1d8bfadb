"""A named chain of stages, and whether a catalogue knows it."""

from collections.abc import Iterable, Mapping

from failsoft.catalogue import Catalogue
from failsoft.pipeline.names import checked_name
from failsoft.pipeline.stage import Stage
from failsoft.policy.admission import AdmissionConfig
from failsoft.policy.breaker_settings import DEFAULTS as BREAKER_DEFAULTS
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.context import Context
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName
from failsoft.policy.retry_budget import DEFAULTS as RETRY_DEFAULTS
from failsoft.policy.retry_budget import RetryBudgetSettings
from failsoft.policy.settings import (
    ADMISSION_DEFAULTS,
    COALESCING_DEFAULTS,
)
from failsoft.policy.widening import DEFAULTS as WIDENING_DEFAULTS
from failsoft.policy.widening import WideningConfig
from failsoft.wire.content_key import Coalesce


class Pipeline:
    """A named chain of stages.

    Args:
        name: as in topics.yaml.
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name("pipeline", name)
        self.stages: dict[str, Stage] = {}

    def stage(
        self,
        name: str,
        *,
        after: Stage | None = None,
        floor: Mapping[ClassName, int] | None = None,
        patience: Mapping[ClassName, float] | None = None,
        breakers: BreakerSettings = BREAKER_DEFAULTS,
        retries: RetryBudgetSettings = RETRY_DEFAULTS,
        widening: WideningConfig = WIDENING_DEFAULTS,
        context: Context | None = None,
        coalesce: Coalesce = "deterministic",
        data_version: str | None = None,
        coalescing: CoalescingConfig = COALESCING_DEFAULTS,
        admission: AdmissionConfig = ADMISSION_DEFAULTS,
    ) -> Stage:
        """Declare a stage.

        Args:
            name: as in topics.yaml.
            after: the stage whose answers it takes; None: its requests come from outside. A stage hands on to one other.
            floor: class -> the lowest acceptable level, 1-3; 3 where not said.
            patience: class -> the part of its budget, 0-1, that a request waits for a better tier.
            breakers: thresholds of every endpoint's breaker.
            retries: what retries live on.
            widening: what counts as a change of an endpoint's latency.
            context: the parts of the context that its requests should have, and which of them an answer of level 1 needs.
            coalesce: which requests are equal, and share executions and answers: "off", none; "deterministic", those that
                would get the same answer again (temperature 0 or a seed); "always", all of the same content.
            data_version: of what the answers are made from; a new one makes no request equal to an old one.
            coalescing: how equal requests share an execution.
            admission: when requests are shed.
        """
        if name in self.stages:
            raise ConfigurationError(f"pipeline {self.name}: stage {name!r} is declared twice")
        if after is not None and self.stages.get(after.name) is not after:
            raise ConfigurationError(f"pipeline {self.name}, stage {name!r}: after= is {after}, which is not one of it")
        stage = Stage(
            self.name,
            checked_name("stage", name),
            floor=floor or {},
            patience=patience or {},
            breakers=breakers,
            retries=retries,
            widening=widening,
            context=context,
            coalesce=coalesce,
            data_version=data_version,
            coalescing=coalescing,
            admission=admission,
        )
        if after is not None:
            after.follow_with(stage)
        self.stages[name] = stage
        return stage

    def check(self, catalogue: Catalogue) -> None:
        """Refuse to run on a catalogue that lists other stages.

        Raises:
            ConfigurationError: says which.
        """
        listed = catalogue.pipelines.get(self.name)
        if listed is None:
            known = ", ".join(catalogue.pipelines) or "none"
            raise ConfigurationError(f"pipeline {self.name!r} is not in topics.yaml; it has {known}")
        if list(listed) != list(self.stages):
            raise ConfigurationError(
                f"pipeline {self.name}: topics.yaml lists the stages {_listed(listed)}, the code declares {_listed(self.stages)}"
            )
        for stage in self.stages.values():
            stage.settings(catalogue)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
