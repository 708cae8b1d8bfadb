"""The endpoint that a runbook is about, as its pipeline declares it."""

from dataclasses import replace

from failsoft.endpoints import OpenAICompatible
from failsoft.failover.checks import CheckName
from failsoft.failover.runbook import Runbook
from failsoft.pipeline import Pipeline
from failsoft.policy.errors import ConfigurationError


def fitted(runbook: Runbook, pipeline: Pipeline) -> tuple[Runbook, OpenAICompatible]:
    """Find the endpoint, and give the runbook its regions.

    Raises:
        ConfigurationError: the pipeline has no such endpoint or region, or what is to be checked cannot be told of it; names the
            field of the runbook and what there is.
    """
    if runbook.pipeline != pipeline.name:
        raise ConfigurationError(
            f"{runbook.path}: pipeline: is {runbook.pipeline}, and the code declares {pipeline.name}"
        )
    stage = pipeline.stages.get(runbook.stage)
    if stage is None:
        raise ConfigurationError(
            f"{runbook.path}: endpoint: there is no stage {runbook.stage}; there are {', '.join(pipeline.stages)}"
        )
    endpoints = {tier.settings.name: tier.serves for tier in stage.tiers if isinstance(tier.serves, OpenAICompatible)}
    endpoint = endpoints.get(runbook.tier)
    if endpoint is None:
        there = ", ".join(endpoints) or "none"
        raise ConfigurationError(
            f"{runbook.path}: endpoint: {runbook.tier} is no OpenAICompatible tier of {runbook.stage}; there are: {there}"
        )
    if stage.successor is not None and any(check.name is CheckName.ARRIVED for check in runbook.during):
        raise ConfigurationError(
            f"{runbook.path}: during.arrived: is told by results, and a result names the region of its last stage only, "
            f"not that of {runbook.stage}; leave it out"
        )
    for field, region in (("from", runbook.origin), ("to", runbook.target)):
        if region not in endpoint.regions:
            there = ", ".join(endpoint.regions) or "none; declare urls={region: url}"
            raise ConfigurationError(
                f"{runbook.path}: {field}: {runbook.endpoint} has no region {region}; it has {there}"
            )
    return replace(runbook, regions=endpoint.regions), endpoint
