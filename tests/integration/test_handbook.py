"""The public data through Kafka and both agents gives the scores of an offline pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.fraud.dataset import build, offline_scores
from models.fraud.network import load_fraud
from streams.cli.main import app
from streams.producers.files import column_map, read_transactions
from streams.schemas import decode_score
from tests.conftest import Stack
from tests.worker import bed_on

pytestmark = pytest.mark.slow

COUNT = 110_000
"""Twelve days: on the last five of them labels, seven days late, are known."""


def test_streamed_in_lockstep_the_scores_are_those_of_an_offline_pass(
    handbook: Path,
    real_stack: Stack,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bed = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    bed.create_topics()
    publishing = bed.worker("fraud", TOCSIN_FRAUD__PUBLISH_SCORES="true")
    labels = bed.worker("labels")
    with publishing, labels:
        publishing.until_ready()
        labels.until_ready()
        for section in ("kafka", "redis", "topics", "fraud", "labels"):
            values = getattr(bed.settings, section)
            for name in values.model_fields_set:
                setting = f"TOCSIN_{section}__{name}".upper()
                monkeypatch.setenv(setting, str(getattr(values, name)))
        played = CliRunner().invoke(
            app,
            f"replay {handbook} --labels-delay 7d --lockstep 1d --limit {COUNT}".split(),
        )
        assert played.exit_code == 0, played.output

    transactions = read_transactions(handbook, column_map(""), verdicts=True)
    transactions = transactions.take(slice(0, COUNT))
    network, _ = load_fraud()
    expected = offline_scores(network, build(transactions, network.config.large_amount))
    streamed = {
        score.tx_id: score.score
        for score in (decode_score(record.value) for record in bed.read(bed.settings.topics.scores))
    }
    assert len(streamed) == COUNT
    found = np.array([streamed[str(tx)] for tx in transactions.tx_id.tolist()])
    assert np.abs(found - expected).max() < 1e-4
