"""Tenant: a text that one tenant's requests carry stands in no result of another's, nor in one of nobody's.

Each result is looked at whole, headers too, while the topic is dumped. What leaks without being quoted cannot be seen so; a
trial whose models repeat their prompt sees most.
"""

from failsoft.trials.checks.check import Check, Standing
from failsoft.trials.checks.evidence import Evidence


def check_tenants(evidence: Evidence) -> Check:
    """Look for canaries where they do not belong."""
    check = Check("tenant", without=Standing.NOT_APPLICABLE)
    if not evidence.history.trial.canaries:
        check.note = "no canaries were sent"
        return check
    for request in evidence.requests.values():
        for result in request.results:
            others = [tenant for tenant in result.canaries if tenant != request.tenant]
            check.look(
                not others,
                f"{request.id} of {request.tenant or 'nobody'}: its result at offset {result.offset} quotes {', '.join(others)}",
            )
    return check
