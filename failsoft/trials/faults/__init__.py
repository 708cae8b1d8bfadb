"""Fault trials: real brokers and workers, hundreds of faults, and a history that a checker judges.

===========  =========================================================================================
module       holds
===========  =========================================================================================
schedule     when which fault strikes, drawn from a seed
site         what faults act on: brokers, proxies, workers, models, callers
crew         worker processes, one by one
callers      open-loop load of mixed classes, and what came of each send
readers      who is shown the results
pipeline     what the workers run
brokers      faults of brokers and their disks
workers      faults of workers, their clocks and their group
network      faults between clients and brokers
models       faults of the models
records      poison, and what operators do to topics
strike       carries a schedule out
leaks        whether a prompt stands in a log
trial        the whole: set up, strike, come to rest, dump
===========  =========================================================================================
"""
