"""Draws docs/state-machines.md from the tables that the code runs by, so that the two cannot say different things.

python docs/state_machines.py --check
python docs/state_machines.py --write
"""
# ruff: noqa: INP001 - a script beside the pages that it writes, no package

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from failsoft.policy.breaker_states import TRANSITIONS, State
from failsoft.policy.stage.work import MOVES, Standing

PAGE = Path(__file__).with_name("state-machines.md")
HEAD = """# State machines

Written by `python docs/state_machines.py --write` from the tables that the code runs by; a move that is not in its table raises
`IllegalTransition`, and a test fails when this page and the tables differ.
"""
BREAKER = """## A breaker

One for each endpoint at each worker: [policy/breaker_states.py](../failsoft/policy/breaker_states.py). What trips it, how long it
waits and what a probe is, is in [policy/breaker.py](../failsoft/policy/breaker.py). `fleet opened` and `fleet closed` are the
words of the other workers; `forced open`, `metrics only` and `released` are an operator's. One that does not enforce begins in
`metrics_only`, and goes back there when an operator lets go of it.
"""
ERRAND = """## An errand

What waits for a permit and is called, on behalf of one request or of all that share it, from the first wait to the last call:
[policy/stage/work.py](../failsoft/policy/stage/work.py). The results are published after it. One for which nobody waits any more,
because the partitions went to another worker, leaves from where it stands, without a result: the next owner ends the requests.
"""


def page() -> str:
    """The whole page."""
    breaker = _diagram(
        State.CLOSED.value, ((start.value, end.value, trigger.value) for (start, trigger), end in TRANSITIONS.items())
    )
    errand = _diagram(
        Standing.WAITING.value,
        ((start.value, end.value, when) for (start, end), when in MOVES.items()),
        last=(Standing.OVER.value, "its requests have ended"),
    )
    return f"{HEAD}\n{BREAKER}\n{breaker}\n\n{ERRAND}\n{errand}\n"


def _diagram(first: str, arrows: Iterable[tuple[str, str, str]], *, last: tuple[str, str] | None = None) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *_arrows(arrows), *_end(last), "```"])


def _arrows(arrows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for start, end, when in arrows:
        yield f"    {start} --> {end}: {when.replace(':', ',')}"  # a second colon would end the label


def _end(last: tuple[str, str] | None) -> list[str]:
    return [] if last is None else [f"    {last[0]} --> [*]: {last[1]}"]


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    verb = parser.add_mutually_exclusive_group(required=True)
    verb.add_argument("--check", action="store_true", help="fail if the page differs from the tables")
    verb.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.stderr.write(f"{PAGE.name}: not what the tables say; run `python docs/state_machines.py --write`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
