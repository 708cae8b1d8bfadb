"""What the pipeline under trial is called, and how much it bears: for those who try it.

Apart from the pipeline, which asks the environment where its models stand: the command line must not do that when it starts.
"""

NAME, STAGE = "trial", "work"
KILLER = "abort the process that reads this"
LARGE_SLOTS, SMALL_SLOTS = 16, 32
