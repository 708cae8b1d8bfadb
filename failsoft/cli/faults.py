"""`failsoft faults`: hundreds of faults on real brokers and workers, and a judge who believes none of them."""

import asyncio
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from failsoft.cli.exits import Exit, explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.policy.errors import ConfigurationError
from failsoft.trials.checks import Judgement, judge
from failsoft.trials.checks.report import fault_table, invariant_table, judgement_json, judgement_lines
from failsoft.trials.faults.schedule import Kind, draw_schedule
from failsoft.trials.faults.trial import TrialOutcome, TrialSettings, run_trial
from failsoft.trials.history import load_history

SMOKE_SECONDS = 120.0
BROKERS = (1, 3)


def faults(
    *,
    json: JsonOption = None,
    minutes: Annotated[float, typer.Option(min=1.0, help="How long faults and the quiet between them take.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of what strikes when, of the load, and of the models' service times.")] = 0,
    brokers: Annotated[int, typer.Option(help="1 or 3.")] = 3,
    rate: Annotated[float, typer.Option(min=1.0, help="Requests a second, on average.")] = 30.0,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the history here, a folder that is empty or not there; else it is removed."
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Each kind of fault once, in about two minutes, in place of --minutes.")
    ] = False,
    without: Annotated[
        list[Kind] | None, typer.Option(help="Leave this kind of fault out, and say so; may be given again.")
    ] = None,
) -> None:
    """Strike brokers, workers, the network, models and topics under load; then account for every request.

    Exits 0 when every invariant of `failsoft check-history` holds and no log quotes a prompt; else 1. 3: the trial itself could
    not go on.
    """
    started_at = time.time()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end as with Ctrl-C: all processes stop
    with explained_errors():
        if brokers not in BROKERS:
            raise ConfigurationError(f"--brokers {brokers}: trials run on 1 or on 3")
        seconds = SMOKE_SECONDS if smoke else 60.0 * minutes
        schedule = draw_schedule(seconds, seed=seed, is_smoke=smoke)
        with _folder(keep) as folder:
            _keep_library_logs(folder)
            settings = TrialSettings(schedule, seed, brokers, folder, rate, is_smoke=smoke, without=without or ())
            outcome = asyncio.run(run_trial(settings, _teller(started_at)))
            judgement = judge(load_history(folder))
    if json != "-":
        _show(judgement, outcome)
    if json is not None:
        write_json(
            json, command="faults", started_at=started_at, seed=seed, result=_result(judgement, outcome, brokers)
        )
    if not judgement.is_kept or outcome.leaks:
        if keep is None:
            print("to look into it, run it again with --keep DIR", file=sys.stderr)
        raise typer.Exit(Exit.BROKEN_PROMISE)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the history goes."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="failsoft-faults-") as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigurationError(f"--keep {keep}: it holds something already; name a folder that is empty or not there")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()


def _keep_library_logs(folder: Path) -> None:
    """What clients here say about brokers that are killed on purpose is for those who look into a history."""
    handler = logging.FileHandler(folder / "trial.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _teller(started_at: float) -> Callable[[str], None]:
    def say(text: str) -> None:
        print(f"{time.time() - started_at:7.1f} s  {text}", file=sys.stderr, flush=True)

    return say


def _show(judgement: Judgement, outcome: TrialOutcome) -> None:
    console = Console()
    console.print(fault_table(judgement))
    console.print(invariant_table(judgement))
    for line in judgement_lines(judgement):
        print(line)
    for place in outcome.leaks:
        print(f"a prompt is quoted in {place}")
    print(
        f"Workers ended by themselves {_counted(outcome.ended_by_themselves)}, when told to {_counted(outcome.drained)}. "
        f"After the load ended, the last result took {outcome.rest_seconds:.1f} s."
    )


def _counted(codes: Mapping[int, int]) -> str:
    listed = ", ".join(f"{count} with exit code {code}" for code, count in sorted(codes.items()))
    return f"{sum(codes.values())} times" + (f" ({listed})" if listed else "")


def _result(judgement: Judgement, outcome: TrialOutcome, brokers: int) -> dict[str, Any]:
    return {
        **judgement_json(judgement),
        "brokers": brokers,
        "late_faults": outcome.late,
        "ended_by_themselves": dict(outcome.ended_by_themselves),
        "drained": dict(outcome.drained),
        "rest_seconds": round(outcome.rest_seconds, 3),
        "leaks": outcome.leaks,
    }
