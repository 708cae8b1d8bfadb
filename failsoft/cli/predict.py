"""``failsoft predict``: what a stage will degrade, and when, over load: the production machine in virtual time.

Here the author's words become a question to the simulator, which knows no pipelines: a stage with the catalogue's classes and
the environment's settings becomes StageSettings, and each tier's duration becomes a law of latency. A tier's law is, in this
order: what --latency measured, what the tokens of --trace say, and a lognormal about `expect`.
"""

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from failsoft.catalogue import load as load_catalogue
from failsoft.cli.dice import dice_of
from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.predicted import result_of, show
from failsoft.cli.recorded import Trace, read_latencies, read_trace
from failsoft.cli.report import JsonOption, PlotOption, write_json
from failsoft.cli.topics import CatalogueOption
from failsoft.pipeline import Pipeline, Stage, load_pipeline
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.runtime.configuration import configure
from failsoft.runtime.worker import chosen_stages
from failsoft.simulation.latency_law import Lognormal, Measured
from failsoft.simulation.plot import load_chart
from failsoft.simulation.prediction import Predicted, Question, loads_between, predict_load, usual_seconds
from failsoft.simulation.workload import ClassLoad

LOAD_MAX = 1_000.0


def predict(
    *,
    pipeline: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="Of a failsoft.Pipeline, e.g. workers.digits:pipeline.")
    ],
    load: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="In capacities of the first tier; or one load.")
    ] = "0.3:10",
    steps: Annotated[int, typer.Option(min=1, help="How many loads, at equal ratios.")] = 8,
    seconds: Annotated[
        str | None,
        typer.Option(help="How long requests arrive at each load: 30s, 10m. Default: 2,000 of them at load 1."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What is left to chance.")] = 1,
    stage: Annotated[str | None, typer.Option(help="Which stage, where there are several.")] = None,
    mix: Annotated[
        str | None, typer.Option(metavar="CLASS=SHARE,...", help="Who asks. Default: every class as much.")
    ] = None,
    latency: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: tier -> {median_seconds, sigma}, or measured seconds.")
    ] = None,
    sigma: Annotated[
        float, typer.Option(min=0.0, help="Spread of durations about `expect`, of their logarithm.")
    ] = 0.35,
    workers: Annotated[
        int, typer.Option(min=1, help="How many share the partitions; each has its part of the permits.")
    ] = 1,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Arrivals: CSV[.gz] with TIMESTAMP and tokens, or seconds, one a line."),
    ] = None,
    catalogue: CatalogueOption = None,
    plot: PlotOption = None,
    json: JsonOption = None,
) -> None:
    """Predict levels, outcomes, latency and wasted work of a stage over load, in virtual time.

    Load 1 is what the first tier can serve: its limit over its mean duration. Each load lasts --seconds; what waits then is
    worked off, and counts. Nothing is called but the simulator: the pipeline is imported, its models are not.
    """
    started_at = time.time()
    with explained_errors():
        chosen = _stage(load_pipeline(pipeline), stage)
        known = load_catalogue(catalogue)
        settings = configure([chosen], known, os.environ)[0].policy
        recorded = None if trace is None else read_trace(trace)
        laws = _laws(settings, latency, sigma, recorded)
        question = Question(
            settings,
            laws,
            _mix(settings, mix),
            _seconds(seconds, usual_seconds(settings, laws)),
            () if recorded is None else recorded.instants,
            workers=workers,
            partitions=known.topics["requests"].partitions,
        )
        found = _all(question, _loads(load, steps), seed)
        if plot is not None:
            plot.write_text(load_chart(found, title=str(chosen)), encoding="utf-8")
    if json != "-":
        show(str(chosen), question, found)
    if json is not None:
        result = {"pipeline": pipeline, "stage": chosen.name, **result_of(question, found)}
        write_json(json, command="predict", started_at=started_at, seed=seed, result=result)
    if any(each.invariants_broken for each in found):
        raise typer.Exit(Exit.BROKEN_PROMISE)


# From the author's words to the question.


def _stage(pipeline: Pipeline, name: str | None) -> Stage:
    found = chosen_stages(pipeline, [] if name is None else [name])
    if len(found) != 1:
        known = ", ".join(pipeline.stages) or "none"
        raise ConfigurationError(f"pipeline {pipeline.name} has the stages {known}; choose one with --stage NAME")
    return found[0]


def _laws(
    settings: StageSettings, latency: Path | None, sigma: float, trace: Trace | None
) -> dict[str, Lognormal | Measured]:
    models = [tier for tier in settings.tiers if tier.is_model]
    if not models:
        raise ConfigurationError(f"stage {settings.name}: none of its tiers takes a call, so load changes nothing")
    measured = {} if latency is None else read_latencies(latency, [tier.name for tier in models])
    return {tier.name: measured.get(tier.name) or _expected(settings, tier, sigma, trace) for tier in models}


def _expected(settings: StageSettings, tier: TierSettings, sigma: float, trace: Trace | None) -> Lognormal | Measured:
    if tier.expected_seconds is None:
        raise ConfigurationError(
            f"stage {settings.name}, tier {tier.name}: nobody says how long a call takes; declare it "
            f'(expect="800ms") or measure it and pass --latency FILE'
        )
    law = None if trace is None else trace.law(tier.expected_seconds)
    return law or Lognormal(tier.expected_seconds, sigma)


def _mix(settings: StageSettings, said: str | None) -> tuple[ClassLoad, ...]:
    names = [known.name for known in settings.classes]
    shares = dict.fromkeys(names, 1.0) if said is None else dict(_share(part, names) for part in said.split(","))
    if not sum(shares.values()) > 0:
        raise ConfigurationError(f"--mix {said}: nobody asks; give one class a share above zero")
    return tuple(
        ClassLoad(known.name, shares[known.name] / sum(shares.values()), known.deadline_seconds)
        for known in settings.classes
        if shares.get(known.name)
    )


def _share(part: str, names: Sequence[str]) -> tuple[str, float]:
    name, _, written = part.partition("=")
    share = _number(written)
    if name.strip() not in names:
        raise ConfigurationError(f"--mix: class {name.strip()!r} is not in topics.yaml; it has {', '.join(names)}")
    if share is None or share < 0:
        raise ConfigurationError(f"--mix: {part.strip()!r} is not CLASS=SHARE, such as {names[0]}=0.3")
    return name.strip(), share


def _loads(said: str, steps: int) -> tuple[float, ...]:
    lowest, colon, highest = said.partition(":")
    bounds = _number(lowest), _number(highest if colon else lowest)
    match bounds:
        case (float(low), float(high)) if 0 < low <= high <= LOAD_MAX:
            return loads_between(low, high, steps)
        case _:
            raise ConfigurationError(
                f"--load {said}: write LOW:HIGH such as 0.3:10, or one load; above zero, at most {LOAD_MAX:g}"
            )


def _seconds(said: str | None, usual: float) -> float:
    if said is None:
        return usual
    seconds = parse_duration(said, field="--seconds")
    if seconds == 0:
        raise ConfigurationError("--seconds 0: nothing would arrive; use a duration such as 60s")
    return seconds


def _number(written: str) -> float | None:
    try:
        value = float(written)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# The run.


def _all(question: Question, loads: Sequence[float], seed: int) -> list[Predicted]:
    with _progress(question, loads) as begin:
        return [predict_load(question, begin(load), dice_of(seed)) for load in loads]


class _Told:
    """Says which load is next: a bar at a terminal, by requests, since they are what takes time; else a line."""

    def __init__(self, question: Question, loads: Sequence[float], bar: Progress | None) -> None:
        self._bar = bar
        self._per_load = question.capacity * question.seconds
        self._task = None if bar is None else bar.add_task("", total=sum(loads) * self._per_load, now="")
        self._last = 0.0

    def __call__(self, load: float) -> float:
        now = f"load {load:g}: {load * self._per_load:.0f} requests"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=self._last, now=now)
            self._last = load * self._per_load
        else:
            print(now, file=sys.stderr, flush=True)
        return load


@contextmanager
def _progress(question: Question, loads: Sequence[float]) -> Iterator[_Told]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Told(question, loads, None)
        return
    columns = (BarColumn(), TextColumn("{task.fields[now]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Told(question, loads, bar)
