"""The second act of ``failsoft demo``: two stages, a retrieval that fails without a word, and a region that is left.

===========  =========================================================================================
module       holds
===========  =========================================================================================
script       what happens, scene by scene; values
questions    what is asked: a shop's customers
runbook      the runbook from eu to us, and its canaries, as files
command      ``failsoft failover`` as an operator gives it, beside the load
judgement    what every scene must show
stage        where it is played: regions, workers, an operator
act          plays the scenes and has them judged
report       what was seen, as a table, as sentences, and as keys of ``--json``
===========  =========================================================================================
"""
