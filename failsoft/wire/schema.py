"""JSON Schema (2020-12) of every record on the wire: what a sender in another language can check against.

A record is described as an object with its headers as text and its value as JSON. The schemas are written here,
beside the code that they describe, and kept in files for others: ``--check`` fails when the two differ, ``--write``
writes the files. Golden examples in ``schemas/examples`` are checked against the schemas and against the code.

    python -m failsoft.wire.schema --check schemas
    python -m failsoft.wire.schema --write schemas
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from failsoft.policy.breaker_control import Force
from failsoft.policy.call_counts import BUCKETS as WINDOW_BUCKETS
from failsoft.policy.context import PARTS_MAX, Found
from failsoft.policy.degradation import CELL_SECONDS
from failsoft.policy.histogram import BUCKETS
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.register import Cause
from failsoft.wire.answer import ANSWER_TYPE
from failsoft.wire.body import PartState
from failsoft.wire.control import CONTROL_TYPE
from failsoft.wire.dead_letter import DEAD_LETTER_TYPE
from failsoft.wire.dead_letter_mark import MARK_TYPE, Deed
from failsoft.wire.degradation import DEGRADATION_TYPE
from failsoft.wire.envelope import REQUEST_TYPE
from failsoft.wire.profile import PROFILE_TYPE
from failsoft.wire.register import PHASES, REGISTER_TYPE
from failsoft.wire.result import RESULT_TYPE
from failsoft.wire.rollup import ROLLUP_TYPE
from failsoft.wire.route import ROUTE_TYPE
from failsoft.wire.trail import PATTERN as TRAIL
from failsoft.wire.trail import STEPS_MAX

Schema = dict[str, Any]


def _text(description: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": description}


def _integer(description: str, *, pattern: str = r"^\d{1,10}$") -> Schema:
    return {"type": "string", "pattern": pattern, "description": description}


def _instant(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": description}


def _word(words: Iterable[str], description: str) -> Schema:
    return {"enum": [str(word) for word in words], "description": description}


def _object(properties: Schema, *, required: Iterable[str] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _record(name: str, title: str, headers: Schema, value: Schema) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:failsoft:{name}:v1",
        "title": title,
        **_object(
            {"key": {"type": ["string", "null"]}, "headers": headers, "value": value},
            required=("headers", "value"),
            additionalProperties=False,
        ),
    }


def _trail(description: str) -> Schema:
    return {
        "type": "string",
        "pattern": f"^{TRAIL}(;{TRAIL}){{0,{STEPS_MAX - 1}}}$",
        "description": f"{description}: stage,tier,level,reason,queue ms,call ms;…",
    }


_SIGNED: Final = r"^-?\d{1,10}$"
_LEVEL: Final = r"^[1-3]$"
_LACKING: Final = f"[a-z0-9_-]{{1,32}}=({'|'.join(found for found in Found if found is not Found.PRESENT)})"

_PASSED_ON: Final[Schema] = {
    "traceparent": _text("W3C trace context, passed on"),
    "tracestate": _text("W3C trace context, passed on"),
    "ce_correlationid": {"type": "string", "description": "echoed on the result, byte for byte"},
    "correlation_id": {"type": "string", "description": "the same, as FastStream writes it"},
    "kafka_correlationId": {
        "type": "string",
        "description": "the same, as Spring writes it; may be bytes that are no text",
    },
}

_REQUEST_HEADERS: Final = _object(
    {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _text("with ce_source, the identity of the request; absent: its place in the log"),
        "ce_source": _text(
            "who sends, as a URI reference; /replay/<id of a result>: a dead letter's request, once more"
        ),
        "ce_type": {
            "type": "string",
            "pattern": rf"^(?!failsoft\.)|^{REQUEST_TYPE.replace('.', chr(92) + '.')}$",
            "description": f"{REQUEST_TYPE}, or a foreign producer's own",
        },
        "ce_time": _instant("when the event was made"),
        "content-type": {
            "type": "string",
            "pattern": r"^(application/json|(?!application/cloudevents)[^;]+\+json)\s*(;.*)?$",
        },
        "ce_expirytime": _instant("the deadline; travels unchanged"),
        "ce_budgetms": _integer("milliseconds that were left when it was sent", pattern=_SIGNED),
        "ce_sentat": _instant("when that was, on the same clock"),
        "timeout-ms": _integer("the deadline from the broker's append time, milliseconds"),
        "ce_tenant": _text("whose request it is"),
        "ce_floor": _integer("the lowest level that is acceptable", pattern=_LEVEL),
        "ce_maxstale": _integer("how far past its freshness an answer of the past may be, seconds"),
        "ce_coalescekey": _text("requests with the same key want the same answer"),
        "reply_to": _text("a further topic for the result"),
        "ce_trail": _trail("between stages: how earlier ones served it"),
        "kafka_replyTopic": _text("the same, as Spring writes it"),
        **_PASSED_ON,
    },
)

_PART: Final = _object(
    {
        "value": {"description": "any JSON"},
        "state": _word(PartState, "how complete it is; present if not said"),
        "produced_at": {"type": ["string", "null"], "format": "date-time"},
    },
    required=("value",),
    additionalProperties=False,
)

_REQUEST_VALUE: Final = _object(
    {
        "custom_id": {"type": "string", "description": "the sender's name for the line, echoed"},
        "method": {"const": "POST"},
        "url": {"type": "string", "pattern": "^/", "description": "which OpenAI endpoint the body is for"},
        "body": {"type": "object", "description": "that endpoint's request"},
        "context": {"type": ["object", "null"], "additionalProperties": _PART},
    },
    required=("custom_id", "method", "url", "body"),
    additionalProperties=False,
)

_RESULT_HEADERS: Final = _object(
    {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": "follows from the identity of the request"},
        "ce_source": {"type": "string", "pattern": "^/failsoft/"},
        "ce_type": {"const": RESULT_TYPE},
        "ce_time": _instant("when the end was decided"),
        "content-type": {"const": "application/json"},
        "ce_requestsource": _text("the request's ce_source"),
        "ce_requestid": _text("the request's ce_id"),
        "ce_outcome": _word(Outcome, "how it ended"),
        "ce_reason": _word(Reason, "why that was not level 1, or not ok"),
        "ce_servedtier": _text("which tier answered"),
        "ce_servedlevel": _integer("its level", pattern=_LEVEL),
        "ce_wantedlevel": _integer("the level that was wanted", pattern=_LEVEL),
        "ce_executions": _integer("how many calls were made"),
        "ce_queuems": _integer("how long it waited, milliseconds"),
        "ce_callms": _integer("how long its calls took, milliseconds"),
        "ce_slackms": _integer("what was left of the deadline, milliseconds; negative: late", pattern=_SIGNED),
        "ce_region": _text("where the endpoint is that answered"),
        "ce_coalescedwith": _text("the id of the result whose call it shared"),
        "ce_contextstate": {
            "type": "string",
            "pattern": f"^(complete|{_LACKING}( {_LACKING}){{0,{PARTS_MAX - 1}}})$",
            "description": "how complete the declared context was: complete, or what was not as it should be",
        },
        "ce_stale": {"enum": ["true", "false"], "description": "whether the answer is one of the past, past its time"},
        "ce_agems": _integer("how old an answer of the past was, milliseconds"),
        "retry-after": _integer("when a shed request may be sent again, seconds"),
        "ce_stage": _text("the stage in which it ended"),
        "ce_trail": _trail("how the stages before that one served it"),
        **_PASSED_ON,
    },
    required=("ce_id", "ce_type", "ce_requestsource", "ce_requestid", "ce_outcome", "ce_reason"),
)

_RESULT_VALUE: Final = _object(
    {
        "id": {"type": "string"},
        "custom_id": {"type": ["string", "null"]},
        "response": _object(
            {
                "status_code": {"type": "integer"},
                "request_id": {"type": "string"},
                "body": {"description": 'the answer, or {"error": {…}}'},
            },
            required=("status_code", "request_id", "body"),
        ),
        "error": {"type": "null"},
    },
    required=("id", "response"),
    additionalProperties=False,
)

_DEAD_LETTER_HEADERS: Final = _object(
    {
        "type": {"const": DEAD_LETTER_TYPE},
        "reason": _word(Reason, "why it was given up"),
        "__connect.errors.topic": _text("where it came from"),
        "__connect.errors.partition": _integer("where it came from", pattern=r"^\d+$"),
        "__connect.errors.offset": _integer("where it came from", pattern=r"^\d+$"),
        "__connect.errors.stage": _text("who gave it up"),
        "__connect.errors.exception.class.name": _text("the class of the error"),
        "__connect.errors.exception.message": _text("what is wrong; quotes nothing of the record"),
        "value-sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "of a value too large to keep"},
        "value-bytes": _integer("its length"),
    },
    required=(
        "type",
        "reason",
        "__connect.errors.topic",
        "__connect.errors.partition",
        "__connect.errors.offset",
        "__connect.errors.stage",
    ),
)

_MARK_HEADERS: Final = _object(
    {
        "type": {"const": MARK_TYPE},
        "letter": {
            "type": "string",
            "format": "uuid",
            "description": "the id of the dead letter; the record's key too",
        },
        "deed": _word(Deed, "what was done about it"),
        "number": _integer("of the replay, from 1; of one that is dropped the last there was, or 0"),
        "to": _text("the topic that the replay goes to"),
    },
    required=("type", "letter", "deed", "number"),
)

_ANSWER_HEADERS: Final = _object(
    {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _text("the record's key, and when the answer was given"),
        "ce_source": {"type": "string", "pattern": "^/failsoft/"},
        "ce_type": {"const": ANSWER_TYPE},
        "ce_time": _instant("when it was given, by the broker's clock"),
        "content-type": {"const": "application/json"},
        "ce_stage": _text("whose answer it is"),
        "ce_servedtier": _text("which tier gave it"),
        "ce_servedlevel": _integer("its level", pattern=_LEVEL),
        "ce_revision": _text("of the model behind the tier"),
        "ce_freshms": _integer("how long it is fresh from ce_time on, milliseconds"),
        "ce_region": _text("where the endpoint is that gave it"),
    },
    required=("ce_type", "ce_time", "ce_stage", "ce_servedtier", "ce_freshms"),
)

_LEVEL_OR_NONE: Final[Schema] = {
    "enum": [1, 2, 3, None],
    "description": "at which they were served; null: they were not",
}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
_NAME: Final[Schema] = {"type": "string"}

_HISTOGRAM: Final = _object(
    {
        "seconds": {"type": "number", "minimum": 0, "description": "the sum of all"},
        "counts": {
            "type": "array",
            "description": "pairs of bucket and calls; bucket k ends at (1.01 / 0.99)^k seconds",
            "items": {
                "type": "array",
                "prefixItems": [
                    {"type": "integer", "minimum": BUCKETS[0], "maximum": BUCKETS[-1]},
                    {"type": "integer", "minimum": 1},
                ],
                "items": False,
                "minItems": 2,
            },
        },
    },
    required=("seconds", "counts"),
    additionalProperties=False,
)

_PROFILE: Final[Schema] = {
    "tier": _NAME,
    "region": {"type": "string", "description": "where the endpoint stands; empty where its author named none"},
    "answers": _HISTOGRAM,
    "cut": {**_HISTOGRAM, "description": "calls that were cut: each took longer"},
}

_ROLLUP_VALUE: Final = _object(
    {
        "stage": _NAME,
        "endings": {
            "type": "array",
            "items": _object(
                {
                    "class": _NAME,
                    "level": _LEVEL_OR_NONE,
                    "reason": _word(Reason, "why that was not level 1, or not ok"),
                    "outcome": _word(Outcome, "how they ended"),
                    "count": _WHOLE,
                },
                required=("class", "reason", "outcome", "count"),
                additionalProperties=False,
            ),
        },
        "latency": {
            "type": "array",
            "items": _object(_PROFILE, required=_PROFILE, additionalProperties=False),
        },
    },
    required=("stage", "endings", "latency"),
    additionalProperties=False,
)

_LATENCY_VALUE: Final = _object({"stage": _NAME, **_PROFILE}, required=("stage", *_PROFILE), additionalProperties=False)

_DEGRADATION_VALUE: Final = _object(
    {
        "begins_at": _instant("the minute, by the broker's clock"),
        "seconds": {"const": CELL_SECONDS},
        "stage": _NAME,
        "class": _NAME,
        "level": _LEVEL_OR_NONE,
        "reason": _word(Reason, "why that was not level 1, or not ok"),
        "partition": {
            **_WHOLE,
            "description": "of the roll-ups that are counted; all of a minute is the sum over them",
        },
        "counts": {
            **_object({outcome.value: _WHOLE for outcome in Outcome}, additionalProperties=False),
            "description": "requests by how they ended",
        },
        "through": {**_WHOLE, "description": "the offset of the last roll-up that is counted"},
    },
    required=("begins_at", "seconds", "stage", "class", "reason", "partition", "counts", "through"),
    additionalProperties=False,
)


_LENGTH: Final[Schema] = {"type": "number", "minimum": 0, "description": "seconds"}

_REGISTER_VALUE: Final = _object(
    {
        "epoch": {**_WHOLE, "description": "counts openings"},
        "phase": _word(PHASES.values(), "how far the epoch has got; a later one goes before an earlier one"),
        "open_seconds": {**_LENGTH, "description": "how long no call is made in this epoch"},
        "reopenings": {**_WHOLE, "description": "openings before this one, without a recovery between them"},
        "causes": {"type": "array", "items": _word(Cause, "what opened it")},
        "since_seconds": {**_LENGTH, "description": "how long before the record was written the epoch was opened"},
        "buckets": {
            "type": "array",
            "maxItems": WINDOW_BUCKETS,
            "description": "calls, failed, slow of three seconds each, newest first",
            "items": {"type": "array", "items": _WHOLE, "minItems": 3, "maxItems": 3},
        },
        "probes": {**_WHOLE, "description": "calls in flight by which it is tried out"},
    },
    required=("epoch", "phase", "open_seconds", "reopenings", "causes", "since_seconds", "buckets", "probes"),
    additionalProperties=False,
)

_CONTROL_VALUE: Final = _object(
    {
        "breaker": {"type": "string", "description": "<stage>/<tier>, or stage:<stage>"},
        "force": _word(Force, "what the operator wants of it"),
        "who": _NAME,
        "why": _NAME,
        "until": {"type": ["string", "null"], "format": "date-time", "description": "null with auto, and only there"},
    },
    required=("breaker", "force", "who", "why", "until"),
    additionalProperties=False,
)


_SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1, "description": "the part that goes over"}
_INSTANT: Final[Schema] = {"type": "number", "description": "epoch seconds"}

_ROUTE_VALUE: Final = _object(
    {
        "endpoint": {"type": "string", "description": "<stage>/<tier>"},
        "origin": {"type": "string", "description": "the region that its calls leave"},
        "target": {"type": "string", "description": "the region that they go to"},
        "share": _SHARE,
        "epoch": {**_WHOLE, "description": "of two words the one with the higher epoch holds; of one epoch the later"},
        "who": _NAME,
        "why": _NAME,
    },
    required=("endpoint", "origin", "target", "share", "epoch", "who", "why"),
    additionalProperties=False,
)

_DRILL_VALUE: Final = _object(
    {
        "name": {"type": "string", "description": "of the run, through all sessions that carry it on"},
        "kind": {"enum": ["drill", "execute"]},
        "runbook": {"type": "string", "description": "its file's name, without the ending"},
        "runbook_hash": {"type": "string", "description": "sha256 of what the runbook said, canaries included"},
        "endpoint": {"type": "string", "description": "<stage>/<tier>"},
        "origin": {"type": "string"},
        "target": {"type": "string"},
        "steps": {
            "type": "array",
            "items": _object({"share": _SHARE, "hold_seconds": _LENGTH}, required=("share", "hold_seconds")),
            "description": "none of a drill by shadow calls",
        },
        "started_at": _INSTANT,
        "epoch": {**_WHOLE, "description": "of this session; the highest of an endpoint has its route"},
        "session": {"type": "string", "description": "who writes this record, and nobody else does"},
        "by": _NAME,
        "why": _NAME,
        "is_forced": {"type": "boolean", "description": "begun although no drill allowed it"},
        "is_claim": {"type": "boolean", "description": "others have not been ruled out yet"},
        "phase": {"enum": ["before", "shift", "verify", "return", "ended"], "description": "what is to be done next"},
        "position": {**_WHOLE, "description": "which step"},
        "verdict": {"enum": ["passed", "failed", "withdrawn", None]},
        "ended_at": {"type": ["number", "null"], "description": "epoch seconds"},
        "findings": {
            "type": "array",
            "items": _object(
                {
                    "at": {"type": "string", "description": "before, or the share that was on"},
                    "check": {"enum": ["reachable", "breakers", "agreement", "p95", "capacity", "served", "arrived"]},
                    "bound": {"type": "number"},
                    "figure": {"type": ["number", "null"], "description": "null: it could not be measured"},
                    "passed": {"type": "boolean"},
                },
                required=("at", "check", "bound", "figure", "passed"),
            ),
        },
        "answers": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
            "description": "custom_id of a canary, digest of what the origin answered",
        },
    },
    required=(
        "name",
        "kind",
        "runbook",
        "runbook_hash",
        "endpoint",
        "epoch",
        "session",
        "phase",
        "verdict",
        "findings",
    ),
    additionalProperties=False,
)


def _typed(type_: str) -> Schema:
    return _object({"ce_type": {"const": type_}, "content-type": {"const": "application/json"}}, required=("ce_type",))


SCHEMAS: Final[dict[str, Schema]] = {
    "request": _record("request", "A request on a stage's topic", _REQUEST_HEADERS, _REQUEST_VALUE),
    "result": _record("result", "The one result of a request", _RESULT_HEADERS, _RESULT_VALUE),
    "dead-letter": _record(
        "dead-letter",
        "A record that was given up",
        _DEAD_LETTER_HEADERS,
        {"description": "the original's, whatever it is"},
    ),
    "dead-letter-mark": _record(
        "dead-letter-mark",
        "What was done about a dead letter, among the dead letters",
        _MARK_HEADERS,
        {"type": "null"},
    ),
    "answer": _record(
        "answer",
        "An answer of the past, keyed <content key>/<level>[/<revision>]",
        _ANSWER_HEADERS,
        {"description": "the answer, as response.body of results; a record without a value deletes it"},
    ),
    "rollup": _record("rollup", "What a worker tells of one stage", _typed(ROLLUP_TYPE), _ROLLUP_VALUE),
    "latency": _record("latency", "How long calls of one tier took lately", _typed(PROFILE_TYPE), _LATENCY_VALUE),
    "degradation": _record(
        "degradation", "How requests of one minute ended", _typed(DEGRADATION_TYPE), _DEGRADATION_VALUE
    ),
    "register": _record(
        "register",
        "What a worker says of a breaker, keyed <stage>/<tier>|<process> or stage:<stage>/<class>|<process>",
        _typed(REGISTER_TYPE),
        _REGISTER_VALUE,
    ),
    "control": _record(
        "control",
        "What an operator says of a breaker, keyed breaker|<stage>/<tier> or breaker|stage:<stage>",
        _typed(CONTROL_TYPE),
        _CONTROL_VALUE,
    ),
    "route": _record(
        "route",
        "What an operator says of where an endpoint is called, keyed route|<stage>/<tier>|<epoch>",
        _typed(ROUTE_TYPE),
        _ROUTE_VALUE,
    ),
    "drill": _record(
        "drill",
        "A drill or a failover as far as it got, keyed <stage>/<tier>|<epoch>|<session>",
        _typed("failsoft.drill.v1"),
        _DRILL_VALUE,
    ),
}
"""By name; the file is ``<name>.schema.json``."""


def files(directory: Path) -> dict[Path, bytes]:
    """Say what each schema's file holds."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {directory / f"{name}.schema.json": orjson.dumps(schema, option=option) for name, schema in SCHEMAS.items()}


def drifted(directory: Path) -> list[Path]:
    """List the files that are missing, or differ from the schemas here."""
    return [path for path, text in files(directory).items() if not path.is_file() or path.read_bytes() != text]


def main(arguments: list[str]) -> int:
    """Run the command line; 1 means that a file has drifted."""
    parser = argparse.ArgumentParser(prog="python -m failsoft.wire.schema", description="JSON Schemas of the wire.")
    verb = parser.add_mutually_exclusive_group(required=True)
    verb.add_argument("--check", type=Path, metavar="DIRECTORY", help="fail if a file differs from the code")
    verb.add_argument("--write", type=Path, metavar="DIRECTORY", help="write the files")
    chosen = parser.parse_args(arguments)
    if chosen.write is not None:
        chosen.write.mkdir(parents=True, exist_ok=True)
        for path, text in files(chosen.write).items():
            path.write_bytes(text)
        return 0
    wrong = drifted(chosen.check)
    for path in wrong:
        sys.stderr.write(f"{path}: not what failsoft/wire/schema.py says; run `make schemas`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
