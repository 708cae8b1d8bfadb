"""Faust apps beside the workers: what is made of their roll-ups. The sums themselves are in :mod:`failsoft.policy`.

===========  ==========================================================================
module       holds
===========  ==========================================================================
latency      the fleet's latency, of each endpoint, for workers that have just started
degradation  how many requests ended at which level and why, minute by minute
app          what both have in common: the Faust app round a model
reading      whether it gets on
metrics      what is counted
settings     Faust's settings, each with its reason
command      the command line of a module, as ``failsoft streams`` calls it
===========  ==========================================================================
"""
