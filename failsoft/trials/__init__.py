"""Trials: a real cluster, real processes, a known load, and a ledger that holds what came back against what was sent.

=============  =====================================================================================
module         holds
=============  =====================================================================================
scenario       what happens, phase by phase: load, faults, killed workers; values
digits         what is asked: images of digits, and the answers that are right
load           open-loop arrivals: drawn beforehand, sent on time whatever the system does
arrivals       results as a reader is shown them, while they come
fleet          processes that can be killed and never outlive the trial
served_models  the model server of a trial: its faults and its account
ledger         accepted against ended: lost, repeated, phantom, in time, how long
deployment     what an act finds and needs: a pipeline, its topics, workers, in the end its log
audience       who is told how it goes
rest           when everything has its result, or nothing more will come
demo           the first act of ``failsoft demo``
report         what it has shown as a table, and as the keys of ``--json``
second_act     two stages, a retrieval that fails without a word, a region that is left
history        what everybody in a trial did and saw, on disk, written while faults strike
checks         the judge of a history: every invariant by name
batch_run      ``failsoft run``: a batch file to its last output line
=============  =====================================================================================
"""
