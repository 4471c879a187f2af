"""Counters of this process, as Prometheus reads them.

Its text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """What this process has done since it started."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._ended_streams: Counter[str] = Counter()
        self.events_sent = 0
        self.overflows = 0

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. route: with the names of its parameters, not their values."""
        self._requests[method, route, status] += 1
        self._seconds[route] += seconds
        place = next((place for place, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self._buckets[route][place] += 1

    def stream_ended(self, reason: str) -> None:
        """Count the end of a stream."""
        self._ended_streams[reason] += 1

    def text(self, *, requests: int, streams: int, tenants: int, feeds: int) -> str:
        """Return all counters, and these numbers of the moment."""
        lines: list[str] = []

        def add(name: str, kind: str, what: str, samples: "list[tuple[str, float]]") -> None:
            lines.extend((f"# HELP {name} {what}", f"# TYPE {name} {kind}"))
            lines.extend(f"{name}{labels} {value:.10g}" for labels, value in samples)

        add("skep_gateway_requests_total", "counter", "Requests that have ended.", [
            (f'{{method="{method}",route="{route}",status="{status}"}}', count)
            for (method, route, status), count in sorted(self._requests.items())
        ])  # fmt: skip
        name = "skep_gateway_request_seconds"
        lines.extend((f"# HELP {name} How long requests took, streams included.", f"# TYPE {name} histogram"))
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {total}')
        add("skep_gateway_requests", "gauge", "Requests that run now, without streams.", [("", requests)])
        add("skep_gateway_streams", "gauge", "Open event streams.", [("", streams)])
        add("skep_gateway_feeds", "gauge", "Sessions that are read for streams.", [("", feeds)])
        add("skep_gateway_tenants", "gauge", "Clients of Redis, one a tenant.", [("", tenants)])
        add("skep_gateway_events_sent_total", "counter", "Events sent to streams.", [("", self.events_sent)])
        add("skep_gateway_stream_overflows_total", "counter", "Streams that had to read stored events again.", [
            ("", self.overflows)
        ])  # fmt: skip
        add("skep_gateway_streams_ended_total", "counter", "Streams that have ended, by the reason.", [
            (f'{{reason="{reason}"}}', count) for reason, count in sorted(self._ended_streams.items())
        ])  # fmt: skip
        add("process_start_time_seconds", "gauge", "When the process started.", [("", self.started_at)])
        add("process_resident_memory_bytes", "gauge", "Memory of the process.", [("", _resident_bytes())])
        return "\n".join(lines) + "\n"


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
