"""Services for a real mesh whose behaviour a test can ask for and see."""

from __future__ import annotations

from pathlib import Path

from tests.services import write_service

WRITER = '''
"""Streams words until it has written enough, and leaves a mark when it is closed."""
import asyncio
import pathlib
from slmesh.api.reason.v1 import reason_pb2 as pb

class Writer:
    """Writes as many words as asked for, one every 20 ms."""

    def load(self, resources):
        self.marks = pathlib.Path(resources.manifest.options["marks"])

    async def stream(self, request):
        written = 0
        try:
            yield pb.ReasonResponse(started=pb.Started())
            for written in range(1, (request.max_output_tokens or 10) + 1):
                await asyncio.sleep(0.02)
                yield pb.ReasonResponse(text_delta="word ")
            done = pb.Completion(finish_reason=pb.FINISH_REASON_STOP)
            done.usage.output_tokens = written
            yield pb.ReasonResponse(completion=done)
        finally:
            (self.marks / request.text).write_text(str(written))
'''

BROKEN = '''
"""A service whose model is not what it should be."""

class Broken:
    """Never loads."""

    def load(self, resources):
        raise ValueError("the tensor 'weight' has 3 rows, 4 expected")

    def answer(self, requests):
        return []
'''


def write_services(folder: Path, marks: Path) -> list[str]:
    """Write the services and return their names."""
    write_service(folder, "worker", max_batch_size=1, max_queue_items=4, timeout_ms=5000, threads=2)
    write_service(folder, "steady")
    write_service(
        folder, "writer", WRITER, "Writer", contract="reason", options=f"{{marks: {marks}}}"
    )
    write_service(folder, "broken", BROKEN, "Broken")
    return ["worker", "steady", "writer", "broken"]
