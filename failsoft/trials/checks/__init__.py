"""The judge of a trial: pure functions from what was written down to what is wrong with it.

The names are those of research/reliability.md §6.4, after Jepsen's where they match.

======================  ==============================================================================================
invariant               holds when
======================  ==============================================================================================
lost                    each accepted request has a result, and a reader that read all was shown it
duplicate-visible       no reader is shown a result twice, and what it is shown is the first in the log
duplicate-execution     a process calls for a record at most so often, and few results stand in the log again
phantom                 each result, and each dead letter, answers a request that was sent and did not surely fail
inconsistent-offset     all who speak of a place in a log speak of the same record
commit-ahead            below a committed offset every record has its result
commit-regression       a committed offset never goes back
order                   nothing is promised, so nothing is held against it
deadline                no call begins after the request's expiry, and none that still lives is dropped
breaker                 no call passes an open breaker, and few a half-open one
tenant                  nobody's text stands in another tenant's result
liveness                results flow again soon after each fault, nothing stalls, and quiet phases are in time
======================  ==============================================================================================

Checks look at what was written down and never at a worker's opinion of it; :mod:`failsoft.trials.checks.evidence` puts it in
order. Each is a module of its own but for those that read the same lines.
"""

from failsoft.trials.checks.check import Check, Standing
from failsoft.trials.checks.judgement import Judgement, judge

__all__ = ["Check", "Judgement", "Standing", "judge"]
