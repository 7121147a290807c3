"""Readiness says what a worker waits for, and the log says it once."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from streams import status as status_module
from streams.metrics import Metrics
from streams.status import Status
from streams.worker import show


def ready() -> Status:
    status = Status()
    status.joined()
    return status


def test_a_new_worker_is_joining_its_group() -> None:
    status = Status()

    assert status.reasons() == ["joining the consumer group"]
    assert status.is_waiting
    status.joined()
    assert status.reasons() == []
    assert not status.is_waiting
    status.left()
    assert status.reasons() == ["joining the consumer group"]


def test_a_block_names_its_reason_until_it_is_resolved_and_is_logged_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    status = ready()
    for _ in range(5):
        status.block("topic 'x' does not exist")
    status.block("no model")
    assert status.reasons() == ["no model"]
    assert status.is_waiting
    status.block(None)

    assert status.reasons() == []
    assert [record.getMessage() for record in caplog.records] == [
        "stuck: topic 'x' does not exist",
        "stuck: no model",
    ]


def test_a_wait_that_never_begins_is_no_wait(caplog: pytest.LogCaptureFixture) -> None:
    status = ready()
    caplog.clear()
    with status.waiting("Redis"):
        assert status.reasons() == []
    assert caplog.records == []


def test_a_wait_backs_off_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    status = ready()
    caplog.clear()
    caplog.set_level(logging.INFO)
    with status.waiting("Redis") as wait:
        delays = [wait.because("refused") for _ in range(8)]
        assert status.reasons() == ["waiting for Redis: refused"]
        assert status.is_waiting

    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.2, 2.0)
    assert status.reasons() == []
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]


def test_a_long_wait_is_logged_again_as_a_reminder(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("WARNING")  # whatever a command that ran before in this process has set
    monkeypatch.setattr(status_module, "REMIND_S", 0.2)
    with ready().waiting("Kafka") as wait:
        wait.because("down")
        wait.because("down")
        time.sleep(0.25)
        wait.because("still down")

    assert [record.getMessage() for record in caplog.records] == [
        "waiting for Kafka: down",
        "waiting for Kafka: still down",
    ]


def test_a_wait_that_fails_is_over_too() -> None:
    status = ready()

    def give_up() -> None:
        with status.waiting("Redis") as wait:
            wait.because("down")
            raise ValueError("gave up")

    with pytest.raises(ValueError, match="gave up"):
        give_up()
    assert status.reasons() == []


def test_one_that_got_through_does_not_end_the_wait_of_another() -> None:
    status = ready()
    with status.waiting("Redis") as writer:
        writer.because("out of memory")
        with status.waiting("Redis"):
            pass  # a reader, whom Redis serves
        assert status.reasons() == ["waiting for Redis: out of memory"]


def test_several_who_wait_for_one_thing_are_one_reason_and_two_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = ready()
    caplog.clear()
    caplog.set_level(logging.INFO)
    with status.waiting("Redis") as one:
        one.because("down")
        with status.waiting("Redis") as two:
            two.because("down")
            one.because("down")
            assert status.reasons() == ["waiting for Redis: down"]
        assert status.is_waiting

    assert status.reasons() == []
    assert len(caplog.records) == 2


def test_a_rebuild_counts_to_its_end_over_all_partitions() -> None:
    status = ready()
    status.rebuild(0, 100, 200)
    status.rebuild(1, 0, 100)
    assert status.is_rebuilding
    assert status.reasons() == ["rebuilding 0 %"]
    status.rebuild_at(0, 150)
    status.rebuild_at(1, 500)  # past its end
    assert status.reasons() == ["rebuilding 75 %"]
    status.rebuilt(1)
    status.rebuilt(1)
    assert status.reasons() == ["rebuilding 75 %"]  # a partition that is done does not set it back
    status.rebuilt(0)
    assert not status.is_rebuilding
    assert status.reasons() == []
    status.rebuild(2, 0, 100)
    assert status.reasons() == ["rebuilding 0 %"]


def test_every_reason_is_told_at_once() -> None:
    status = Status()
    status.rebuild(0, 0, 10)
    status.block("wrong topic")
    with status.waiting("Kafka") as kafka, status.waiting("Redis") as redis:
        kafka.because("down")
        redis.because("refused")
        assert status.reasons() == [
            "wrong topic",
            "waiting for Kafka: down",
            "waiting for Redis: refused",
            "rebuilding 0 %",
        ]


def test_threads_may_wait_and_read_at_the_same_time() -> None:
    status = ready()
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            for _ in range(200):
                with status.waiting("Redis") as waiting:
                    waiting.because("down")
                    status.reasons()
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    logging.disable(logging.CRITICAL)
    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.disable(logging.NOTSET)

    assert failures == []
    assert status.reasons() == []


def test_the_metrics_say_what_the_status_says_when_they_are_read() -> None:
    status, metrics = Status(), Metrics("fraud")
    show(status, metrics)

    def shown() -> list[float | None]:
        return [
            metrics.registry.get_sample_value(name, {"agent": "fraud"})
            for name in ("tocsin_ready", "tocsin_rebuilding")
        ]

    assert shown() == [0, 0]
    status.joined()
    assert shown() == [1, 0]
    status.rebuild(0, 0, 10)
    assert shown() == [0, 1]
    status.rebuilt(0)
    assert shown() == [1, 0]


def test_a_worker_is_in_one_state_at_a_time_and_the_log_says_when_it_is_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    status = Status()
    seen = [status.state()]
    status.block("no model")
    seen.append(status.state())
    status.block(None)
    status.rebuild(0, 100, 200)
    status.rebuild(1, 0, 100)
    status.rebuild_at(0, 186)
    seen.append(status.state())
    with status.waiting("Redis") as wait:
        wait.because("refused")
        seen.append(status.state())
    status.joined()
    status.rebuilt(0)
    status.rebuilt(1)
    seen.append(status.state())

    assert seen == ["joining", "stuck: no model", "rebuilding 43 %", "waiting for Redis", "ready"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert said[-1] == "ready"
    assert said.count("ready") == 1
