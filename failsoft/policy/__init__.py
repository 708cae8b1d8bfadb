"""Decisions. One module per pattern, composed by :mod:`failsoft.policy.stage`; no I/O, no clock, no randomness of its own.

=================  =====================================================================
module             decides
=================  =====================================================================
deadline           how much time is left at arrival; how long one execution may take
latency            what is known of a tier's latency: windowed histogram, censoring
tiers              which request a free permit takes, at which tier: first refusal
scheduling         the order of what waits; weighted credits; who must run now
stall              what to do about an endpoint that has stopped answering
concurrency        permits: this worker's share of a limit; a limit that is measured
breaker            whether an endpoint may be called, from how its calls went
breaker_board      what all workers say of a breaker; whose turn it is to probe
breaker_control    what an operator says of it, and which of two words holds
retry_budget       whether another execution may happen
backoff            when
widening           whether latency is what it was: widening, shift or spike
admission          whom to refuse when a class cannot be served in time
coalescing         which requests share one execution
answers            which old answer may be served
context            which tiers can run on an incomplete context
routing            the region of each endpoint, moved by hand
offsets            which offset may be committed
clock_offset       this host's clock against the broker's
fleet_latency      what all workers have measured of an endpoint, from their roll-ups
degradation        how many requests ended at which level, minute by minute, from the same
=================  =====================================================================

The stage composes all of them. Modules that are not in the table hold values, or a part of the pattern that
names them.
"""
