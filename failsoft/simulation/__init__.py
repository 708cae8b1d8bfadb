"""The stage in virtual time: the same machine that runs in production, against simulated models, workers and Kafka.

=================  =====================================================================
module             holds
=================  =====================================================================
engine             virtual time: a heap of what is due
latency_law        how long a model takes
endpoints          slots, a bounded queue, illnesses, what cutting a call does
workload           arrivals: Poisson phases, traces, Zipf contents, classes, tenants
shell              drives one stage machine, as the asyncio shell does
pool               workers without Kafka: the policy against the models
world              Kafka as pure values: logs, a group with generations, visible results
cluster            the world's Kafka on virtual time
member             a process's part in the group: heartbeats, keeping, fenced commits
intake             what a process fetches, by room
view               a process's view of the breakers' topic
process            one life of a worker: translates between cluster and machine
host               where processes live: clock skew, crash at any step, cut off, frozen
faults             what goes wrong, when, and for how long
fleet              a whole world from a plan and a seed
invariants         what must hold in every world, checked at every step
expectations       figures between two bounds
scenarios          named worlds with what must come out of them
fuzz               a random world per seed
report             what a run came to, per class and in total
prediction         what rising load will degrade, and when
plot               the same as a picture
bound              what no rule can beat
=================  =====================================================================

No I/O, no clock, and no dice but those handed in: a run is a function of its plan and seed.
"""
