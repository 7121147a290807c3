"""Which alerts the labels have confirmed so far."""

from __future__ import annotations

from collections import OrderedDict

from streams.schemas import Alert, TransactionLabel

# Verdicts remembered for an alert that is late: a minute at a thousand transactions a second.
_REMEMBERED = 50_000


class Tally:
    """Joins alerts and labels by transaction. An alert that was sent twice counts once.

    A label that withdraws or changes an earlier one does not occur: the simulator is never wrong.
    """

    def __init__(self) -> None:
        self.alerts = 0
        self.labels = 0
        self.frauds_seen = 0
        """Frauds among the labels."""

        self.confirmed = 0
        self.dismissed = 0
        self.things = 0
        """Things before cameras that raised an alert."""

        self.ongoing: dict[str, Alert] = {}
        """Those that go on, by id."""

        self._revisions: OrderedDict[str, int] = OrderedDict()
        self._pending: set[str] = set()
        self._judged: OrderedDict[str, bool] = OrderedDict()
        self._verdicts: OrderedDict[str, bool] = OrderedDict()

    @property
    def precision(self) -> float:
        """Share of frauds among the alerts that have a label by now; 0 while none has."""
        return self.confirmed / max(self.confirmed + self.dismissed, 1)

    @property
    def recall(self) -> float:
        """Share of the frauds seen that had raised an alert; 0 while there are none."""
        return self.confirmed / max(self.frauds_seen, 1)

    def alert(self, alert: Alert) -> bool:
        """Count one alert; False if it is known already."""
        tx_id = str(alert.detail["tx_id"])
        if tx_id in self._pending or tx_id in self._judged:
            return False
        self.alerts += 1
        verdict = self._verdicts.get(tx_id)
        if verdict is None:
            self._pending.add(tx_id)
        else:
            self._judge(tx_id, verdict)
        return True

    def object_alert(self, alert: Alert) -> bool:
        """Count one alert of a camera; False if it, or a later one on the thing, is known."""
        known = self._revisions.get(alert.id, -1)
        if alert.revision <= known:
            return False
        self.things += known < 0
        self._revisions[alert.id] = alert.revision
        if len(self._revisions) > _REMEMBERED:
            self._revisions.popitem(last=False)
        self.ongoing.pop(alert.id, None)
        if alert.status != "end":
            self.ongoing[alert.id] = alert
        return True

    def label(self, label: TransactionLabel) -> None:
        """Count one label."""
        is_fraud = bool(label.is_fraud)
        self.labels += 1
        self.frauds_seen += is_fraud
        _remember(self._verdicts, label.tx_id, is_fraud)
        if label.tx_id in self._pending:
            self._pending.discard(label.tx_id)
            self._judge(label.tx_id, is_fraud)

    def verdict(self, alert: Alert) -> bool | None:
        """Return whether the alert's transaction was fraud; None while nobody knows."""
        return self._judged.get(str(alert.detail["tx_id"]))

    def _judge(self, tx_id: str, is_fraud: bool) -> None:
        self.confirmed += is_fraud
        self.dismissed += not is_fraud
        _remember(self._judged, tx_id, is_fraud)


def _remember(known: OrderedDict[str, bool], tx_id: str, is_fraud: bool) -> None:
    known[tx_id] = is_fraud
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
