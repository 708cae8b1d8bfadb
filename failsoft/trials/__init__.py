"""Trials: a real cluster, real processes, a known load, and a ledger that holds what came back against what was sent.

===========  =====================================================================================
module       holds
===========  =====================================================================================
cluster      the Kafka of a trial: a named one, else one of its own
digits       the load: images of digits as OpenAI batch files, and the answers that are right
sending      sends the load as `failsoft submit` does
arrivals     results as a reader is shown them, while they come
fleet        worker processes that can be killed and never outlive the trial
ledger       accepted against ended: lost, repeated, phantom, in time, how long, how often right
report       a verdict as a table, and as the keys of ``--json``
demo         the story of ``failsoft demo``
===========  =====================================================================================
"""
