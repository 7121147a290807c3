"""Errors of the streaming side, one tree.

::

    TocsinError                 anything that a command prints as one line
    ├── NotFound                what was asked for is not there (any more)
    ├── Outdated                what is to be changed was changed by somebody else meanwhile
    ├── LoginRefused            a login provider does not vouch for somebody, or names no role
    ├── SettingsError           a setting is missing, malformed or contradicts another
    ├── TransportError          Faust or aiokafka lacks a hook that the batch transport relies on,
    │                           or dropped a batch
    ├── BrokerError             Kafka cannot be reached or refuses us
    │   └── TopicMissing        Kafka answers, and has no such topic
    ├── StoreError
    │   ├── StoreUnavailable    Redis cannot be reached or is not ready; retried with backoff
    │   └── StoreRefused        Redis answers, and will not serve us (password, memory policy)
    ├── Fenced                  another process owns the partition's state: this one must end
    ├── ForeignState            the state in Redis is another topic's or model's, or damaged
    ├── WorkerError             a worker that we started or watch ended, or does not answer
    └── Stuck                   no progress although nothing named is being waited for
"""

RESTART = 75
"""Exit status of a process that a restart may help, and never harms (EX_TEMPFAIL of sysexits.h)."""


class TocsinError(Exception):
    """Base of every error that a user is meant to read: one line that says what to do."""


class NotFound(TocsinError):
    """What was asked for is not there, or not any more."""


class Outdated(TocsinError):
    """What is to be changed was changed by somebody else since it was read."""


class LoginRefused(TocsinError):
    """A login provider does not vouch for somebody, or they have no role here."""


class SettingsError(TocsinError):
    """A setting is missing, malformed or contradicts another."""


class TransportError(TocsinError):
    """Faust or aiokafka lacks a hook that the batch transport relies on, or dropped a batch."""


class BrokerError(TocsinError):
    """Kafka cannot be reached or refuses the client."""


class TopicMissing(BrokerError):
    """Kafka answers, and has no such topic."""


class StoreError(TocsinError):
    """The state store failed."""


class StoreUnavailable(StoreError):
    """Redis cannot be reached or is loading; the caller waits and tries again."""


class StoreRefused(StoreError):
    """Redis answers and will not serve us: wrong password, unsafe memory policy, wrong type."""


class Fenced(TocsinError):
    """Another process owns the partition's state, or the state went back in time.

    The process that sees this error ends without a commit; a restart replays safely.
    """


class ForeignState(TocsinError):
    """The state in the store belongs to another topic, cluster or model, or cannot be read."""


class WorkerError(TocsinError):
    """A worker process that we started or watch ended, or does not answer."""


class Stuck(TocsinError):
    """Lag without progress although nothing named is being waited for."""
