"""A Redis server that comes back with what it had before, as after a failover to a replica that lagged."""

import shutil


class Past:
    """An earlier state of a server, to which it can be put back."""

    def __init__(self, server, directory, copy):
        self._server, self._directory, self._copy = server, directory, copy

    def keep(self):
        """Remember the files as they are; nobody may be writing."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._directory, self._copy, ignore=shutil.ignore_patterns("*.sock", "*.log"))

    async def come_back(self):
        """Let the server die, and start with the state that was kept."""
        self._server.kill()
        for path in self._directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self._copy, self._directory, dirs_exist_ok=True)
        await self._server.start()
