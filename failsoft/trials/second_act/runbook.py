"""The runbook of the second act, as files: those in ``runbooks/`` hold a share for half a minute, this one for a moment.

The steps, the checks and the command are those of every runbook; only times are short. The bound of p95 is loose, because all
processes of a demo share one machine.
"""

from pathlib import Path

import orjson

from failsoft.trials.load import PATH
from failsoft.trials.second_act.questions import QUESTIONS, body
from failsoft.trials.second_act.script import AWAY, ENDPOINT, HOME, PIPELINE

NAME = "support-eu-us.yaml"
CANARIES = "support.canary.jsonl"
RUNBOOK = f"""
version: 1
pipeline: {PIPELINE}
endpoint: {ENDPOINT}
from: {HOME}
to: {AWAY}
canary: {CANARIES}
before: {{reachable: true, breakers: closed, agreement: 100%, p95: 5s, capacity: 8}}
during: {{breakers: closed, agreement: 100%, p95: 5s, served: 95%, arrived: 50%}}
steps:
  - {{share: 10%, hold: 1s}}
  - {{share: 50%, hold: 1s}}
  - {{share: 100%, hold: 2s}}
drill: {{share: 10%, hold: 1s}}
"""
CANARY_QUESTIONS = QUESTIONS[:6]


def write_runbook(folder: Path) -> Path:
    """Write it and its canaries down; return where it stands."""
    lines = [
        orjson.dumps(
            {"custom_id": f"canary-{number}", "method": "POST", "url": PATH, "body": body("A canary asks.", question)}
        )
        for number, question in enumerate(CANARY_QUESTIONS, 1)
    ]
    (folder / CANARIES).write_bytes(b"\n".join(lines) + b"\n")
    runbook = folder / NAME
    runbook.write_text(RUNBOOK, encoding="utf-8")
    return runbook
