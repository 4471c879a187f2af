"""A Redis server that returns to an earlier state, as after a failover to a lagging replica."""

import shutil


class Past:
    """An earlier state of a server, which can be restored."""

    def __init__(self, server, directory, copy):
        self._server, self._directory, self._copy = server, directory, copy

    def keep(self):
        """Copy the files as they are; no client may be writing."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._directory, self._copy, ignore=shutil.ignore_patterns("*.sock", "*.log"))

    async def come_back(self):
        """Kill the server, and start it with the kept state."""
        self._server.kill()
        for path in self._directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self._copy, self._directory, dirs_exist_ok=True)
        await self._server.start()
