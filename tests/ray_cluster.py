"""One small Ray cluster for all tests of a session: started by the first that asks, none where Ray is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

CPUS = 4
"""CPUs that the cluster says it has; the machine may have fewer."""


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """The module ``ray``, connected; other processes join at :func:`address_of`."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tolmach[ray]'")
    from tolmach.pipelines.cluster import LOCAL, connect

    ray = connect(LOCAL, num_cpus=CPUS)
    yield ray
    ray.shutdown()


def address_of(ray: Any) -> str:
    """The address that ``--ray`` takes."""
    return str(ray.get_runtime_context().gcs_address)
