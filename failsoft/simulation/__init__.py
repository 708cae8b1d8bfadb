"""The stage in virtual time: the same machine that runs in production, against simulated models, workers and Kafka.

=================  =====================================================================
module             holds
=================  =====================================================================
engine             virtual time: a heap of what is due
latency_law        how long a model takes
endpoints          slots, a bounded queue, faults, what cutting a call does
workload           arrivals: Poisson phases, traces, Zipf contents, classes, tenants
shell              drives one stage machine, as the asyncio shell does
pool               workers without Kafka: the policy against the models
report             what a run came to, per class and in total
=================  =====================================================================

No I/O, no clock, and no dice but those handed in: a run is a function of its seed.
"""
