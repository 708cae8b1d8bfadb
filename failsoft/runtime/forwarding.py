"""Hands a request on: what one stage answered becomes the next one's request.

It keeps its identity, its floor, its tenant and what its sender wants back; its deadline goes on running, and it is told what is
left of it. The body is what the stage answered, or as it came where that is empty; what was gathered joins the context, a later
word in place of an earlier one. Its key is the one by which the next stage knows equal requests, else its result's id: a
repeat, after a crash between the acknowledgement and the commit, comes to the partition where the first one went.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from failsoft.catalogue import requests_topic
from failsoft.endpoints import Output
from failsoft.pipeline import Stage
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Ending
from failsoft.policy.request import ClassName
from failsoft.runtime.held import Held
from failsoft.wire import Record, RequestLine, Step
from failsoft.wire.body import encode_request, gathered
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES, parse_json


class Forwarder:
    """Writes requests for the next stage.

    Args:
        stage: whose answers are handed on.
        successor: who takes them.
        broker_clock: the broker's clock, as near as it is known, epoch seconds: the next stage goes by nobody else's.
    """

    def __init__(self, stage: Stage, successor: Stage, *, broker_clock: Callable[[], float]) -> None:
        self._stage = stage
        self._successor = successor
        self._broker_clock = broker_clock

    def topic(self, request_class: ClassName) -> str:
        """Where requests of a class go: a class stays what it is."""
        return requests_topic(self._successor.pipeline, self._successor.name, request_class)

    def record(self, held: Held, line: RequestLine, ending: Ending, output: Output) -> Record:
        """Write the request for the next stage.

        Args:
            held: the request.
            line: its body, as it came.
            ending: how this stage served it.
            output: what it answered.

        Raises:
            MalformedRecord: the next stage would refuse it; names the field.
        """
        now = self._broker_clock()
        envelope = held.envelope
        if ending.tier is not None and ending.level is not None:
            step = Step(
                self._stage.name,
                ending.tier,
                ending.level,
                ending.reason,
                ending.queue_seconds,
                ending.call_seconds,
            )
            envelope = replace(envelope, trail=(*envelope.trail, step))
        handed_on = replace(
            line, body=_body(output.body) or line.body, context={**line.context, **gathered(output.context, at=now)}
        )
        headers = encode_request_headers(envelope, budget_seconds=ending.slack_seconds, sent_at=now, is_between=True)
        value = encode_request(
            handed_on, limit_bytes=LARGE_VALUE_BYTES
        )  # first: what has no form in JSON has no key either
        key = self._successor.content_key(handed_on, envelope) or result_id(envelope.identity)
        return Record(key.encode(), value, headers)


def _body(answered: Mapping[str, Any] | bytes) -> dict[str, Any]:
    body = parse_json(answered, limit_bytes=LARGE_VALUE_BYTES) if isinstance(answered, bytes) else answered
    if not isinstance(body, Mapping):
        raise MalformedRecord("body", "not an object, and a request of the next stage has one")
    return dict(body)
