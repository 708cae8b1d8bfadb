"""Decisions. One module per pattern, composed by :mod:`failsoft.policy.stage`; no I/O, no clock, no randomness of its own.

=================  =====================================================================
module             decides
=================  =====================================================================
deadline           how much time is left at arrival; how long one execution may take
latency            what is known of a tier's latency: windowed histogram, censoring
tiers              which request a free permit takes, at which tier: first refusal
scheduling         the order of what waits; weighted credits; who must run now
stall              what to do about an endpoint that has stopped answering
concurrency        permits: this worker's share of an endpoint's limit
offsets            which offset may be committed
clock_offset       this host's clock against the broker's
=================  =====================================================================

The values: ``request``, ``outcome``, ``speed``, ``settings``, ``events``, ``actions``, ``work``, ``errors``, ``durations``.
"""
