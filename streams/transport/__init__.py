"""Batch-native Faust transport: one event per fetched batch of a partition.

::

    app = BatchApp("fraud", broker="tocsin://127.0.0.1:9092")
    topic = app.topic("transactions", schema=BatchSchema(max_records=4096))

    @app.agent(topic)
    async def score(stream):
        stream = stream.noack()
        async for event in stream.events():
            batch = event.value  # a RecordBatch
            ...
            await stream.ack(event)
"""

from streams.transport.app import BatchApp, StartPositions
from streams.transport.monitor import BatchMonitor
from streams.transport.schema import BatchSchema, RecordBatch

__all__ = [
    "BatchApp",
    "BatchMonitor",
    "BatchSchema",
    "RecordBatch",
    "StartPositions",
]
