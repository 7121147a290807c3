"""Constructs an agent by its name, and has it publish its figures."""

from __future__ import annotations

from typing import Any

from streams.app.agent import Agent, AgentName, Patience
from streams.app.fraud import build_fraud
from streams.app.labels import build_labels
from streams.app.vision import build_vision
from streams.metrics import Metrics
from streams.settings import Settings
from streams.status import Status


def build_agent(
    name: AgentName, settings: Settings, status: Status, patience: Patience = lambda store: store
) -> Agent:
    """Construct an agent's store, rows and detector.

    Raises:
        ModelError: the network cannot be loaded, or the device is not there.
        SettingsError: a capacity is too small for the batches.
    """
    builders = {"fraud": build_fraud, "labels": build_labels, "vision": build_vision}
    return builders[name](settings, status, patience)


def observe(agent: Agent, metrics: Metrics) -> None:
    """Publish the counts that an agent keeps."""
    if agent.metrics is not None:
        agent.metrics.register(metrics.registry)
    if agent.serves is not None:
        metrics.serves(agent.serves.name, agent.serves.version, agent.serves.sha256)
    table: Any = agent.table
    if table is None:
        return
    metrics.rows.set_function(lambda: len(table))
    metrics.cache_hits.set_function(lambda: table.hits)
    metrics.cache_misses.set_function(lambda: table.misses)
    metrics.evicted.set_function(lambda: table.evicted)
    metrics.strays.set_function(lambda: table.strays)
    agent.observe(metrics)
