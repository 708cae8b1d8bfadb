"""The history of a trial: what everybody did and saw, written down while faults strike, for a judge who was not there.

A folder, of files to which lines of JSON are appended (:mod:`failsoft.runtime.line_file`):

========================================  ==================================================================================
file                                      holds
========================================  ==================================================================================
``trial.json``                            what was run, and what was promised: :class:`Trial`
``producer-<n>.jsonl``                    each send: ``invoke``, then ``ok``, ``fail`` or ``unknown``: :class:`ProducerHistory`
``worker-<process>.<stage>.jsonl``        what a worker did, by itself: ``failsoft worker --history DIR``
``faults.jsonl``                          when each fault began and ended, and what it made unreadable: :class:`FaultHistory`
``offsets.jsonl``                         samples of the group's offsets and of the bounds of the logs: :class:`OffsetHistory`
``log-<topic>.<dump>.jsonl``              every record of a topic: :func:`dump_topic`, at the end, and before a topic is recreated
``reader-<n>.jsonl``                      what a reader of results was shown: :class:`ReaderHistory`
========================================  ==================================================================================

=============  =====================================================================================================
module         holds
=============  =====================================================================================================
trial          what was run: topics, classes, bounds
lines          the values that are the lines of producers, faults, offsets, logs and readers
writers        who writes them
dump           reads a topic of the cluster into its file
echo           what was asked, and what an answer says it was asked
loading        reads a folder back, line by line
=============  =====================================================================================================

**How a trial writes one.** ``write_trial`` first. One ``ProducerHistory`` for each producer: ``invoke`` right before the
send, then ``ok`` with what the broker acknowledged, ``fail`` only where it is sure that the record was not and will not be
written, else ``unknown`` (timeouts, cancelled sends; a producer that was killed says nothing, which is the same). Workers with
``--history DIR``. ``FaultHistory`` around every fault. ``OffsetHistory`` once a second. A ``ReaderHistory`` for every life of a
``ResultReader``. When all has come to rest: ``dump_topic`` for each topic of requests, for results and for dead letters. A
topic that will be deleted is dumped before, as its incarnation 0, and in the end as its incarnation 1.

``at`` is the machine's wall clock, which all processes and brokers of a trial share: a trial runs on one machine.
"""

from failsoft.trials.history.dump import dump_topic
from failsoft.trials.history.echo import text_digest
from failsoft.trials.history.lines import Bounds, Unreadable
from failsoft.trials.history.loading import History, load_history
from failsoft.trials.history.trial import Limits, Trial, TrialClass, write_trial
from failsoft.trials.history.writers import FaultHistory, OffsetHistory, ProducerHistory, ReaderHistory

__all__ = [
    "Bounds",
    "FaultHistory",
    "History",
    "Limits",
    "OffsetHistory",
    "ProducerHistory",
    "ReaderHistory",
    "Trial",
    "TrialClass",
    "Unreadable",
    "dump_topic",
    "load_history",
    "text_digest",
    "write_trial",
]
