"""Puts the labels agent together."""

from __future__ import annotations

from models.fraud.profile import new_profiles
from streams.agents.labels import LabelsDetector
from streams.app.agent import Agent, Patience, check_capacity, open_store, unflushed
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import LabelRules
from streams.settings import Settings
from streams.state.cards import CardHistory
from streams.state.table import EntityTable
from streams.status import Status
from streams.topics import dead_topic


def build_labels(settings: Settings, status: Status, patience: Patience) -> Agent:
    """Construct the agent that learns verdicts; see `streams.app.build.build_agent`."""
    del status  # labels raise no alerts
    check_capacity("labels.capacity", settings.labels.capacity, settings)
    topics, labels = settings.topics, settings.labels
    store = patience(open_store(settings, labels.group, shared=True))
    table = EntityTable(store, capacity=labels.capacity, blank=new_profiles(1))
    cards = patience(open_store(settings, settings.fraud.group, shared=False))
    detector = LabelsDetector(
        terminals=table,
        cards=CardHistory(cards),
        checks=LabelRules(
            horizon_days=labels.horizon_days,
            max_future_ms=round(settings.fraud.max_future_s * 1000),
        ),
        dead_letters=DeadLetters(topics.labels, dead_topic(settings, topics.labels)),
    )
    return Agent(
        name="labels",
        topic=topics.labels,
        group=labels.group,
        store=store,
        table=table,
        detector=detector,
        model="",
        max_batch=settings.delivery.max_batch,
        max_unflushed=unflushed(table),
        observe=lambda metrics: metrics.too_late.set_function(lambda: detector.too_late),
    )
