"""The model of the scripts, with arq's queue as a stream: what the simulated dispatchers read."""

from collections.abc import Callable

from ..model.memory_redis import MemoryRedis
from ..model.script_model import ScriptModel

QUEUE = b"arq"


class QueueingModel(ScriptModel):
    """Puts activations into a stream; `loses_activation` decides for each whether it gets lost on its way."""

    def __init__(self, redis: MemoryRedis, bugs: frozenset[str] = frozenset()) -> None:
        super().__init__(redis, bugs)
        self.loses_activation: Callable[[bytes], bool] = lambda _: False

    def _enqueue_activation(self, prefix: bytes, sid: bytes) -> None:
        if not self.loses_activation(sid):
            self.redis.xadd(QUEUE, None, b"s", sid)
