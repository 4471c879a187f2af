"""A worker whose sessions install no packages."""

from collections.abc import AsyncIterator

import pytest

from skep_shared.packages import PackageMode
from skep_workers.host.process.zygote import Zygote

from ..conftest import open_zygote

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """The zygote of such a worker."""
    async with open_zygote(tmp_path_factory, package_mode=PackageMode.OFF) as zygote:
        yield zygote


async def test_a_worker_may_refuse_to_install(start_session):
    session = await start_session(packages_mode="off")

    cell = await session.run("%pip install hive==1.0")
    assert cell.error.ename == "PackagesOff"
    assert "SKEP_PACKAGES=off" in cell.error.evalue
    assert "SKEP_PACKAGES=off" in await session.text("!pip install hive")
    assert "msgpack" in await session.text("%pip list")
