"""The asyncio shell round the machine: it carries out what the policies decide, and decides nothing itself.

===============  ==================================================================
module           holds
===============  ==================================================================
clock            the only reader of time
runner           one stage: records and ends become events, actions become I/O
ports            what it needs of Kafka
held             what the shell keeps of a record while the machine decides
bodies           the bodies of results, and of the answers that are kept
answer_log       what workers tell each other of answers
breaker_sharing  the breakers of a process and the fleet
announcer        what this process says of breakers
breaker_news     what others say of them, and operators
calls            calls under way, each cut at its window
publisher        results and dead letters, until they are acknowledged
worker           a process: its stages, its signals, its drain
metrics          what the worker counts
health           /metrics and /health
listening        how a server begins to listen
log              events as lines, without payloads
dead_letters     what was given up, and what was done about it
replaying        the same, sent once more
submission       where requests go, and each line of a batch file as one
batch_file       batch files by their name and by their lines
journal          the output file of a run, which is its memory
===============  ==================================================================
"""
