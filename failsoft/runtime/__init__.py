"""The asyncio shell round the machine: it carries out what the policies decide, and decides nothing itself.

=========  ======================================================================
module     holds
=========  ======================================================================
clock      the only reader of time
runner     one stage: records and ends become events, actions become I/O
calls      calls under way, each cut at its window
publisher  results and dead letters, until they are acknowledged
worker     a process: its stages, its signals, its drain, its exit code
metrics    what the worker counts
health     /metrics and /health
=========  ======================================================================
"""
