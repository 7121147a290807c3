"""The scores that workers published, beside the transactions that they are of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.fraud.transactions import Transactions
from streams.errors import TocsinError
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, decode_score
from streams.settings import KafkaSettings


async def read_scores(
    kafka: KafkaSettings,
    topic: str,
    transactions: Transactions,
    on_progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """Join all scores of `topic` by tx_id: (N,), nan where there is none, the last where several.

    Raises:
        BrokerError: no broker answers, or the topic does not exist.
        TocsinError: a record is not a score.
    """
    rows = {str(tx_id): row for row, tx_id in enumerate(transactions.tx_id.tolist())}
    scores = np.full(len(transactions), np.nan, np.float32)
    done = 0
    async for records in read_topic(kafka, topic, from_beginning=True, follow=False):
        for record in records:
            try:
                score = decode_score(record.value or b"")
            except DECODE_ERRORS as error:
                where = f"{topic}:{record.partition}:{record.offset}"
                raise TocsinError(f"{where} is not a score: {error}") from None
            row = rows.get(score.tx_id)
            if row is not None:
                scores[row] = score.score
        done += len(records)
        on_progress(done)
    return scores
