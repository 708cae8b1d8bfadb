from collections.abc import AsyncIterator

import pytest

from tests.acceptance.harness import Cluster, new_cluster


@pytest.fixture
async def cluster(kafka_bootstrap: str) -> AsyncIterator[Cluster]:
    async with new_cluster(kafka_bootstrap) as made:
        yield made
