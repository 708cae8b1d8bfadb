"""Who gets which partition numbers: all of them dealt out evenly, and little moves.

Counts of numbers per member differ by one at most. A member keeps the numbers that it says it had, as far as the balance
allows: 6 to 21 % of all partitions move on a join or a leave, against 26 to 32 % with range (research/kafka.md §2).
"""

from collections.abc import Collection, Iterable, Mapping


def allot(numbers: Iterable[int], held: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
    """Give each number to one member: counts within one of each other, and no move that this does not ask for.

    Args:
        numbers: all numbers there are.
        held: member -> the numbers that it had. Two may claim one number: a member that missed a rebalance does.
    """
    free = set(numbers)
    kept: dict[str, list[int]] = {}
    for member in sorted(held):
        kept[member] = sorted(free.intersection(held[member]))
        free.difference_update(kept[member])
    least, extra = divmod(len(free) + sum(map(len, kept.values())), len(kept))
    quotas = {
        member: least + (rank < extra)  # the odd ones stay with those who have most: that moves least
        for rank, member in enumerate(sorted(kept, key=lambda member: (-len(kept[member]), member)))
    }
    for member, quota in quotas.items():
        free.update(kept[member][quota:])
        del kept[member][quota:]
    spare = sorted(free, reverse=True)
    return {
        member: sorted(kept[member] + [spare.pop() for _ in range(quotas[member] - len(kept[member]))])
        for member in kept
    }
