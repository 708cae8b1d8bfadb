"""Latency distributions, online: what "observed latency" means here.

**Window.** Slots of 10 s, the last six: half a minute says what the model does now, a minute holds enough samples at 1/s
(Finagle keeps 3 x 10 s). Where the minute holds fewer than 30 samples, older slots are added until there are 30, at most
five minutes back; what is still missing is filled up from the prior. A quiet tier thus keeps its own past before it falls
back on a guess, and a bad guess is outvoted after 30 calls.

**Prior.** The fleet's profile where there is one, else the author's word, else a guess. The profile weighs as many calls as it
speaks of, at most 30; what it lacks is filled up from the author's word. So a worker that has just started chooses as its
neighbours do, and one that has calls of its own believes those. A profile has no age here: it is the last that anybody has
measured, and the author's word is older still.

**Censoring.** A call cut at its window was "at least that long". Leaving it out would make a hanging model look fast;
counting it as an answer would let the window chase its own tail. So it counts in the quantiles that ask "will this be in
time" and not in the mean and q99 of answers (research/policy-lab.md §5, "window cap").
"""

import math
from collections import deque
from typing import NamedTuple

from failsoft.policy.histogram import LogHistogram
from failsoft.policy.profile import Profile
from failsoft.policy.speed import Speed

SLOT_SECONDS = 10.0
WINDOW_SLOTS = 6
EXTENDED_SLOTS = 30
ENOUGH_SAMPLES = 30
"""Below this many, quantiles lean on older slots and on the prior."""
GUESS_SAMPLES = 5
"""The same for a prior that is nobody's word: the first requests of a stage must not be kept from its full tier by a guess."""
PRIOR_SIGMA = 0.5
"""Spread of a prior, as the sigma of a lognormal: model calls lie between .35 (fixed work) and 1.2 (free output length)."""

_REFRESH_SHARE = 0.05


class _Slot:
    __slots__ = ("answers", "begins_at", "censored")

    def __init__(self, begins_at: float) -> None:
        self.begins_at = begins_at
        self.answers = LogHistogram()
        self.censored = LogHistogram()


class _Prior(NamedTuple):
    """What to assume, and how many calls it takes to outvote that."""

    answers: LogHistogram
    everything: LogHistogram
    samples: float


class LatencyWindow:
    """The recent latency of one tier.

    Args:
        prior_seconds: the median to assume before anything was seen.
        prior_samples: how many calls it takes to outvote that.
    """

    def __init__(self, prior_seconds: float, *, prior_samples: int = ENOUGH_SAMPLES) -> None:
        self._said = LogHistogram()
        for index in range(ENOUGH_SAMPLES):
            self._said.add(prior_seconds * math.exp(PRIOR_SIGMA * _normal(index)))
        self._said_samples = prior_samples
        self._prior = _Prior(self._said, self._said, prior_samples)
        self._untold: Profile | None = None
        self._slots: deque[_Slot] = deque(maxlen=EXTENDED_SLOTS)
        self.slot_ends_at = -math.inf
        """Until then time alone does not move the figures."""
        self._speed: Speed | None = None  # holds until its slot ends or a twentieth of its samples is new
        self._news = 0

    def answered(self, seconds: float, *, now: float) -> None:
        """Record a call that ended with an answer."""
        self._slot(now).answers.add(seconds)
        if self._untold is not None:
            self._untold.answers.add(seconds)
        self._count_news()

    def cut(self, window_seconds: float, *, now: float) -> None:
        """Record a call that was cut at its window."""
        self._slot(now).censored.add(window_seconds)
        if self._untold is not None:
            self._untold.cut.add(window_seconds)
        self._count_news()

    def fleet_seen(self, profile: Profile) -> None:
        """Take what the fleet has measured for the prior."""
        answers, everything = LogHistogram(), LogHistogram()
        answers.merge(profile.answers)
        everything.merge(profile.answers)
        everything.merge(profile.cut)
        for histogram in (answers, everything):
            _fill_up(histogram, self._said, self._said_samples)
        self._prior = _Prior(answers, everything, min(everything.count, ENOUGH_SAMPLES))
        self._speed = None

    def take_untold(self) -> Profile:
        """What was recorded since this was last asked. Where nobody asks, nothing is kept for it: the first time it is empty."""
        untold, self._untold = self._untold or Profile(), Profile()
        return untold

    def speed(self, *, now: float) -> Speed:
        """The figures now. Recomputed when a slot ends or a twentieth of the samples is new."""
        known = self._speed
        if known is None or now >= self.slot_ends_at:
            self._slot(now)
            known = self._speed = self._compute(now)
            self._news = 0
        return known

    def _count_news(self) -> None:
        self._news += 1
        if self._speed is not None and self._news > _REFRESH_SHARE * self._speed.samples:
            self._speed = None

    def _slot(self, now: float) -> _Slot:
        if now >= self.slot_ends_at:
            begins_at = now - now % SLOT_SECONDS
            self._slots.append(_Slot(begins_at))
            self.slot_ends_at = begins_at + SLOT_SECONDS
            self._speed = None
        return self._slots[-1]

    def _compute(self, now: float) -> Speed:
        answers, everything = LogHistogram(), LogHistogram()
        for slot in reversed(self._slots):
            age = now - slot.begins_at
            if age > EXTENDED_SLOTS * SLOT_SECONDS or (
                age > WINDOW_SLOTS * SLOT_SECONDS and answers.count + everything.count >= ENOUGH_SAMPLES
            ):
                break
            answers.merge(slot.answers)
            everything.merge(slot.censored)
        everything.merge(answers)
        samples = int(everything.count)
        _fill_up(answers, self._prior.answers, self._prior.samples)
        _fill_up(everything, self._prior.everything, self._prior.samples)
        if everything == answers:  # nothing was cut
            q50, q70, q90, q95, q99 = answers.quantiles((0.5, 0.7, 0.9, 0.95, 0.99))
        else:
            q50, q70, q90, q95 = everything.quantiles((0.5, 0.7, 0.9, 0.95))
            (q99,) = answers.quantiles((0.99,))
        return Speed(answers.mean(), q50, q70, q90, q95, q99, samples)


def _fill_up(histogram: LogHistogram, prior: LogHistogram, samples: float) -> None:
    """Add to it from the prior until it holds so many."""
    missing = samples - histogram.count
    if missing > 0:
        histogram.merge(prior, missing / prior.count)


def _normal(index: int) -> float:
    """The standard normal quantile of the index-th of 30 equal parts, by the rational form of Abramowitz and Stegun 26.2.23."""
    rank = (index + 0.5) / ENOUGH_SAMPLES
    tail = min(rank, 1 - rank)
    t = math.sqrt(-2 * math.log(tail))
    z = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t**3)
    return z if rank > 0.5 else -z
