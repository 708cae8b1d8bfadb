"""Faults of models: an outage, a hang, garbage; of the large one, or of both."""

from failsoft.testing.model_server import Faults
from failsoft.trials.faults.site import Site, Strike

LARGE, SMALL = "large", "small"


async def model_outage(site: Site, strike: Strike) -> None:
    """Connections are closed without a word."""
    await _ill(site, strike, Faults(outage=True))


async def model_hang(site: Site, strike: Strike) -> None:
    """No call ends while it is on."""
    await _ill(site, strike, Faults(hang=True))


async def model_garbage(site: Site, strike: Strike) -> None:
    """Half of a document, and status 200."""
    await _ill(site, strike, Faults(garbage=1.0))


async def _ill(site: Site, strike: Strike, faults: Faults) -> None:
    ill = strike.rng.choice([(LARGE,), (LARGE,), (LARGE, SMALL)])
    strike.begins(" and ".join(ill))
    try:
        for model in ill:
            await site.models.set_faults(model, faults)
        await strike.lasts()
    finally:
        for model in ill:
            await site.models.set_faults(model, Faults())
