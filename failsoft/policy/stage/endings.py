"""How each request ends: with an answer, or with the reason why there is none.

    a call answered                  ok, at the level of its tier
    an answer of the past serves     ok, at the level that it was given at; stale where it is
    its context is not complete      at level 2 or its tier's own, whichever is lower
    no model can be in time          the first tier that answers at once and is not below the floor; else
                                     expired        the deadline has passed
                                     unavailable    nothing was called, or only tiers below the floor are left; if its context
                                                    is why, the reason says so
                                     failed         what was called has failed
    its context is too old by then   unavailable, where level 1 only is accepted
    the next stage is stopped        what that one answers at once, where the floor allows it; else unavailable

An end is decided once (:meth:`Work.end`), as a value; the shell publishes it, and the record is done when the broker has it.
"""

from failsoft.policy.actions import Publish
from failsoft.policy.answer import Hit
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.policy.stage.ahead import Ahead
from failsoft.policy.stage.sharing import Sharing
from failsoft.policy.stage.work import Errand, Work


class Endings:
    """Decides the ends of one stage's requests.

    Args:
        settings: of the stage.
        sharing: knows the answers of the past, and whose body is still needed.
        ahead: is told of what goes to the next stage.
    """

    def __init__(self, settings: StageSettings, sharing: Sharing, ahead: Ahead) -> None:
        self._ahead = ahead
        self._wanted_level = settings.tiers[0].level
        self._last_level = settings.tiers[-1].level
        self._at_once = [tier for tier in settings.tiers if not tier.is_model]
        self._sharing = sharing

    def served(
        self, work: Work, errand: Errand, tier: TierSettings, *, call_id: int | None = None, now: float
    ) -> Publish:
        """A tier has answered; where that was late, the context may have become too old for who accepts level 1 only."""
        level = work.request.level(tier.level, now=now)
        if level > work.request.floor:
            return self.end(work, Outcome.UNAVAILABLE, Reason.CONTEXT_INCOMPLETE, now=now)
        reason = errand.reason if level > self._wanted_level else Reason.NONE
        if level > tier.level and reason is Reason.NONE:
            reason = Reason.CONTEXT_INCOMPLETE  # it has aged while it waited
        return self.end(work, Outcome.OK, reason, tier=tier.name, level=level, call_id=call_id, now=now)

    def served_from_past(self, work: Work, hit: Hit, *, now: float) -> Publish:
        """An answer of the past is as good as a new one; below the wanted level none is looked for but for want of context."""
        answer = hit.answer
        level = work.request.level(answer.name.level, now=now)
        reason = Reason.CONTEXT_INCOMPLETE if level > self._wanted_level else Reason.NONE
        return self.end(work, Outcome.OK, reason, tier=answer.tier, level=level, hit=hit, now=now)

    def unserved(self, work: Work, errand: Errand, *, now: float) -> Publish:
        """No model tier can be in time."""
        request = work.request
        for tier in self._at_once:
            level = request.level(tier.level, now=now)
            if level > request.floor:
                continue
            if not tier.is_cached:
                return self.served(work, errand, tier, now=now)
            hit = self._sharing.last_resort(request, now=now)
            if hit is not None:
                return self.end(work, Outcome.OK, errand.reason, tier=tier.name, level=level, hit=hit, now=now)
        if now >= request.deadline_at:
            return self.end(
                work, Outcome.EXPIRED, errand.reason if errand.executions else Reason.DEADLINE_PASSED, now=now
            )
        if self._last_level > request.floor:
            is_lacking = errand.reason is Reason.CONTEXT_INCOMPLETE
            return self.end(work, Outcome.UNAVAILABLE, errand.reason if is_lacking else Reason.FLOOR, now=now)
        return self.end(work, Outcome.FAILED if errand.executions else Outcome.UNAVAILABLE, errand.reason, now=now)

    def stopped(self, work: Work, *, now: float) -> Publish:
        """The next stage takes nobody now."""
        later = self._ahead.next
        tier = None if later is None else later.at_once
        level = None if tier is None else work.request.level(tier.level, now=now)
        if later is None or tier is None or level is None or level > work.request.floor:
            return self.end(work, Outcome.UNAVAILABLE, Reason.BREAKER_OPEN, now=now)
        return self.end(work, Outcome.OK, Reason.BREAKER_OPEN, tier=tier.name, level=level, stage=later.name, now=now)

    def end(
        self,
        work: Work,
        outcome: Outcome,
        reason: Reason,
        *,
        tier: str | None = None,
        level: int | None = None,
        call_id: int | None = None,
        hit: Hit | None = None,
        dead_letter: bool = False,
        retry_after_seconds: float | None = None,
        stage: str | None = None,
        now: float,
    ) -> Publish:
        """Any end.

        Raises:
            IllegalTransition: it has ended before.
        """
        errand = work.errand
        waited_seconds = max(0.0, work.request.waited_seconds(now))
        call_seconds = 0.0 if errand is None else min(errand.call_seconds, waited_seconds)
        leader = None if errand is None or call_id is None else errand.body_of
        ending = Ending(
            outcome=outcome,
            reason=reason,
            tier=tier,
            level=level,
            wanted_level=self._wanted_level,
            executions=0 if errand is None else errand.executions,
            queue_seconds=waited_seconds - call_seconds,
            call_seconds=call_seconds,
            slack_seconds=work.request.deadline_at - now,
            dead_letter=dead_letter,
            is_stale=hit is not None and hit.is_stale,
            age_seconds=None if hit is None else now - hit.answer.produced_at,
            retry_after_seconds=retry_after_seconds,
            stage=stage,
        )
        if outcome is Outcome.OK and stage is None:
            self._ahead.handed_on(work.request)
        work.end()
        return Publish(
            work.record,
            work.assignment,
            ending,
            call_id,
            answer=None if hit is None else hit.answer.name,
            leader=None if leader == work.record else leader,
            keeps_body=self._sharing.needs_body(work.record),
        )
