"""Manual failover of an endpoint from one region to another, along a runbook that was tried.

=========  ===========================================================================
module     holds
=========  ===========================================================================
runbook    what a file in ``runbooks/`` says
checks     what is measured, and what it must be
run        a drill or the real thing, as a value: next step, what follows
logbook    all runs, and who holds a route
gate       whether a run may begin
operator   carries a run out, step by step, each written down
ports      what that needs of the world
record     a run as a record of the topic ``drills``
kafka_book, memory   the book of runs and routes on Kafka, and in memory
declared   the endpoint of a runbook, as its pipeline declares it
probe      measures: canary calls, results, breakers
=========  ===========================================================================
"""
