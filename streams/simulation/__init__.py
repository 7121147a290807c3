"""Seeded histories of the delivery contract under faults, with everything outside it in memory.

The parts that keep the promise are the product's own: `Assignment`, `Delivery`, `Recovery`, `Lane`,
`EntityTable`, `MemoryStateStore` behind `PatientStateStore`, `KafkaPublisher`, `BatchScheduler` and
`BatchLedger`. Replaced are the network (an exact hash chain by key), Kafka, Faust's consumer,
threads and time. Read `history.py` first.
"""
