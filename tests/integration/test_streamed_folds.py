"""Several networks through the agents in one replay: each scores as its own offline pass."""

from __future__ import annotations

import numpy as np
import pytest

from models.fraud.dataset import DAY_MS, build, offline_scores, verdict_times
from models.fraud.network import load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from streams.bench.lockstep import streamed_scores
from streams.bench.servers import Servers
from streams.settings import Settings
from tests.conftest import Stack
from tests.fakes.model import random_model

pytestmark = pytest.mark.slow

DELAY_DAYS = 7.0
WORLD = SimulatorConfig(
    customers=60, terminals=20, radius=40.0, seed=4, compromised_terminals=1, compromised_cards=1
)
"""So few terminals that profiles overflow: then it matters when a label came, and after which."""


def history_with_evenings_off() -> Transactions:
    """Every other day ends at 16:00, but labels go on until midnight."""
    whole = simulate(WORLD, 20)
    day, in_day = np.divmod(whole.event_time, DAY_MS)
    return whole.take((day % 2 == 1) | (in_day < 16 * DAY_MS // 24))


def test_networks_streamed_together_each_score_as_their_own_offline_pass(
    real_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = {
        str(seed): random_model(tmp_path_factory.mktemp(f"seed{seed}"), seed=seed)
        for seed in (1, 2)
    }
    history = history_with_evenings_off()
    sent: list[int] = []
    streamed = streamed_scores(
        Settings(),
        Servers(real_stack.bootstrap, real_stack.redis_url),
        history,
        models,
        label_delay_days=DELAY_DAYS,
        on_progress=lambda done, _: sent.append(done),
    )
    assert list(streamed) == list(models)
    assert sent[-1] == len(history)
    assert len(sent) == 20  # a step a day
    for name, manifest in models.items():
        network, _ = load_fraud(manifest)
        amount = network.config.large_amount
        expected = offline_scores(network, build(history, amount))
        assert np.isfinite(streamed[name]).all()
        assert np.abs(streamed[name] - expected).max() < 1e-4
        # The labels had a say, and came when they should.
        other = build(history, amount, verdict_times(history.event_time, DELAY_DAYS + 1))
        assert np.abs(offline_scores(network, other) - expected).max() > 0.01
    assert np.abs(streamed["1"] - streamed["2"]).max() > 0.1
