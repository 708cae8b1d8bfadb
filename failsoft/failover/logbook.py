"""All runs of a pipeline, as the topic ``drills`` tells them: who holds a route, and what has been tried.

A record is one session's word on one run, and its key names the session, so that nobody overwrites another's word and the topic
may be compacted. A run that was carried on by three sessions has three records; the one with the highest epoch holds.

Two commands that begin at once claim the same epoch. Of those the first in the log has it: each writes its claim, reads the log
up to its end, and gives up if another stands before it. A claim that gave up, or whose command died before it knew, never got
past being a claim, so the other one holds also where compaction has changed their order.
"""

from collections.abc import Iterator

from failsoft.failover.run import Kind, Run, Verdict


class Logbook:
    """What the log has said so far. Feed it in the order of the log."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        """By session; the order is that of their first words."""

    def heard(self, session: str, run: Run | None) -> None:
        """Take in a session's latest word; None: it is deleted."""
        if run is None:
            self._runs.pop(session, None)
        else:
            self._runs[session] = run

    def __iter__(self) -> Iterator[Run]:
        """Each run as it stands now, oldest first."""
        holders = {run.endpoint: self.holder(run.endpoint) for run in self._runs.values()}
        latest: dict[str, Run] = {}
        for run in sorted(self._runs.values(), key=lambda run: run.epoch):
            if not run.is_claim or run is holders[run.endpoint]:  # else another came first, and it never did anything
                latest[run.name] = run
        return iter(sorted(latest.values(), key=lambda run: run.started_at))

    def holder(self, endpoint: str) -> Run | None:
        """Whose word on a route holds; None: nobody ever had one."""
        known = [run for run in self._runs.values() if run.endpoint == endpoint]
        # max takes the first of equal ones: the one that stands before the others in the log.
        return max(known, key=lambda run: (run.epoch, not run.is_claim), default=None)

    def last_epoch(self, endpoint: str) -> int:
        """The highest epoch that was ever claimed."""
        return max((run.epoch for run in self._runs.values() if run.endpoint == endpoint), default=0)

    def last_passed_drill(self, runbook: str, runbook_hash: str) -> Run | None:
        """The latest drill of a runbook, as it is now, that went well."""
        drills = [
            run
            for run in self
            if run.kind is Kind.DRILL
            and run.verdict is Verdict.PASSED
            and not run.is_open
            and (run.runbook, run.runbook_hash) == (runbook, runbook_hash)
        ]
        return max(drills, key=lambda run: run.ended_at or 0.0, default=None)

    def last_drill(self, runbook: str) -> Run | None:
        """The latest drill of a runbook, however it ended and whatever the runbook said then."""
        drills = [run for run in self if run.kind is Kind.DRILL and run.runbook == runbook and not run.is_open]
        return max(drills, key=lambda run: run.ended_at or 0.0, default=None)
