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
=========  ===========================================================================
"""
