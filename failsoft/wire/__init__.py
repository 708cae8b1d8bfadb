"""Bytes and values: what stands on the wire, and nothing that touches it. No I/O, no clock.

=================  ==================================================================================
limits             how much of a record is looked at, and strict JSON
identity           what names a request and its result
envelope           a request's headers: CloudEvents, deadline, floor, correlation
body               values: the lines of OpenAI's batch files
trail              the stages that a request has passed
result             the one end of a request, for writers and for readers
content_key        which requests ask for the same answer
answer             an answer of the past, for the next owner of its partition
dead_letter        records that were given up, as they came
dead_letter_mark   what was done about them
replay             the same records, sent once more
rollup             what a worker tells of itself
profile            how long calls took
degradation        the ledger of how requests ended
register           what a worker says of a breaker
control            what an operator says of one
schema             JSON Schema of all of them (``python -m failsoft.wire.schema``)
attributes         headers as typed attributes
members            members of JSON objects, each of its type
timestamp          instants as RFC 3339
record             key, value, headers
=================  ==================================================================================

Everything that reads raises :class:`~failsoft.policy.errors.MalformedRecord` and nothing else, naming the field.
"""

from failsoft.wire.body import ContextPart, OutputLine, PartState, RequestLine
from failsoft.wire.envelope import Envelope
from failsoft.wire.identity import Identity
from failsoft.wire.record import ForeignHeaders, Headers, Record
from failsoft.wire.result import Result
from failsoft.wire.trail import Step, Trail

__all__ = [
    "ContextPart",
    "Envelope",
    "ForeignHeaders",
    "Headers",
    "Identity",
    "OutputLine",
    "PartState",
    "Record",
    "RequestLine",
    "Result",
    "Step",
    "Trail",
]
