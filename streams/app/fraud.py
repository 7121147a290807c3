"""Puts the fraud agent together."""

from __future__ import annotations

import torch

from models.device import pick
from models.fraud.features import new_card_state
from models.fraud.network import load_fraud
from models.signature import require_signature
from streams.agents.fraud import FraudDetector
from streams.app.agent import Agent, Patience, check_capacity, open_store, unflushed
from streams.errors import SettingsError
from streams.metrics import Metrics
from streams.pipeline.budget import Budget
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decide import DecisionRules
from streams.pipeline.decode import TransactionRules
from streams.pipeline.drift import DriftWatch
from streams.pipeline.policy import AlertBudget, AlertPolicy, FixedThreshold
from streams.schemas import ModelRef
from streams.settings import FraudSettings, Settings
from streams.state.hidden import HiddenStates
from streams.state.store import StateStore
from streams.state.table import EntityTable
from streams.state.terminals import TerminalProfiles
from streams.status import Status
from streams.topics import dead_topic

FLOAT_BYTES = 4


def build_fraud(settings: Settings, status: Status, patience: Patience) -> Agent:
    """Construct the agent that scores transactions; see `streams.app.build.build_agent`."""
    check_capacity("fraud.capacity", settings.fraud.capacity, settings)
    # 1. The network decides how wide a row is.
    device = pick(settings.fraud.device)
    if settings.fraud.model is not None:
        require_signature(settings.fraud.model, settings.models.trusted_keys)
    network, manifest = load_fraud(settings.fraud.model)
    network = network.to(device)
    hidden = network.config.hidden
    torch.set_num_threads(1)  # one inference thread; a second core is worth more to the rest

    # 2. Rows of the cards, and the terminals' profiles as the labels agent wrote them.
    store = patience(open_store(settings, settings.fraud.group, shared=False))
    cards = EntityTable(
        store,
        capacity=settings.fraud.capacity,
        blank=new_card_state(1),
        tail_bytes=hidden * FLOAT_BYTES,
    )
    memory = HiddenStates(capacity=settings.fraud.capacity, hidden=hidden, device=device)
    terminals = TerminalProfiles(
        patience(open_store(settings, settings.labels.group, shared=True)),
        capacity=settings.fraud.profile_capacity,
        max_batch=settings.delivery.max_batch,
        large_amount=network.config.large_amount,
    )

    # 3. What is accepted, and what is decided.
    topics, fraud = settings.topics, settings.fraud
    threshold = manifest.threshold if fraud.threshold is None else fraud.threshold
    policy = _policy(fraud, store, threshold)
    drift = DriftWatch(manifest.reference, manifest.features, fraud.drift_days)
    model = ModelRef(manifest.name, manifest.version, manifest.sha256)
    detector = FraudDetector(
        cards=cards,
        memory=memory,
        terminals=terminals,
        network=network,
        checks=TransactionRules(
            currency=fraud.currency,
            rates=fraud.rates,
            max_amount=fraud.max_amount,
            earliest=fraud.earliest,
            max_future_ms=round(fraud.max_future_s * 1000),
        ),
        dead_letters=DeadLetters(topics.transactions, dead_topic(settings, topics.transactions)),
        rules=DecisionRules(
            model=model,
            source_topic=topics.transactions,
            alerts_topic=topics.alerts,
            scores_topic=topics.scores if fraud.publish_scores else None,
        ),
        policy=policy,
        drift=drift,
        is_rebuilding=lambda: status.is_rebuilding,
    )

    def observe_both(metrics: Metrics) -> None:
        policy.observe(metrics)
        drift.observe(metrics)

    return Agent(
        name="fraud",
        topic=topics.transactions,
        group=fraud.group,
        store=store,
        table=cards,
        beside=(topics.scores,) if fraud.publish_scores else (),
        erasures=topics.forgotten,
        detector=detector,
        model=manifest.sha256,
        serves=model,
        max_batch=settings.delivery.max_batch,
        max_unflushed=unflushed(cards),
        sized=policy.sized,
        observe=observe_both,
    )


def _policy(fraud: FraudSettings, store: StateStore, threshold: float) -> AlertPolicy:
    """Choose how alerts are decided.

    Raises:
        SettingsError: the settings of one policy are given with the other.
    """
    if fraud.policy == "threshold":
        if fraud.alerts_per_day is not None:
            raise SettingsError(
                f"fraud.alerts_per_day ({fraud.alerts_per_day:g}) is kept by fraud.policy budget "
                "only: set fraud.policy to budget, or leave it out"
            )
        return FixedThreshold(threshold)
    if fraud.alerts_per_day is None:
        raise SettingsError("fraud.policy is budget: say how many with fraud.alerts_per_day")
    budget = Budget(fraud.alerts_per_day, fraud.alerts_burst, fraud.alerts_floor)
    return AlertBudget(store, budget=budget, cold=threshold)
