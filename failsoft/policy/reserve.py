"""How much of a request's time belongs to the stages that are still to come.

    left      what is left of the deadline now
    own       q95 of what this stage's full tier takes
    later     sum over the later stages of q95 of what their calls took, and of the margin for publishing

    reserve = later                          where own + later <= left
            = left x later / (own + later)   where it is not: all stages give way alike
    reserve <= left - least                  what this stage's quickest tier takes, q95 and the margin, is not given away

The calls of this stage may take until ``deadline - reserve``. Where time is short the scaled reserve leaves every stage its part
by the time that it usually takes. The last line sees to it that a slow later stage costs nobody a call here, only quality: that
stage may have quicker tiers. Who still waits for a permit when only the reserve is left is given up. No fixed shares: what a fast
stage does not use flows on to the next.

q95 is that of the design (Bonferroni would ask for more with many stages; with two or three it changes little). What is observed
is what all workers of a stage have told of all its tiers, so a stage that serves most requests by a small tier reserves little. A
wait for a permit there is not in it: it shows only as the fraction of requests that a later stage sends to its lower tiers.

Source: research/algorithms.md §1.2.
"""

RESERVED_QUANTILE = 0.95


def reserve_seconds(left: float, *, own: float, later: float, least: float = 0.0) -> float:
    """The time to keep back, seconds; nothing where nothing is left."""
    wanted = own + later
    if left <= least or later <= 0:
        return 0.0
    return min(left - least, later if wanted <= left else left * later / wanted)
