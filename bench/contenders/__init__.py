"""Who is measured in ``bench/overhead.py``: the same service four times, a module each, each run in a process of its own.

Every one takes chat requests from a topic, decodes the JSON, asks a function that answers at once, encodes its answer, writes it
with ``acks=all``, and commits once a second. They differ in what else they do:

==========  ============================================================================================
module      does
==========  ============================================================================================
raw         aiokafka alone: one task a message; commits what was answered. No deadline, no retry, no tier
faststream  a subscriber with 64 workers and a publisher. Its concurrent mode commits before it answers
faust       an agent that sends to a topic. It commits what was sent, acknowledged or not
failsoft    a stage with one tier of 64 slots: everything else in this repository
==========  ============================================================================================

    python -m bench.contenders.raw HOST:PORT                     # and so faststream and faust
    failsoft worker bench.contenders.failsoft:pipeline           # with the catalogue of overhead.py
"""
