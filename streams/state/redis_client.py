"""A connection to Redis or Valkey, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis import exceptions as refusals
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.errors import StoreRefused, StoreUnavailable
from streams.security import redis_options
from streams.settings import RedisSettings

_PASSING = ("OOM", "MISCONF", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


def open_client(settings: RedisSettings) -> Any:
    """Make a client; it connects when it is used. Each call is tried once: the caller waits.

    Raises:
        SettingsError: a certificate cannot be used, or is set where there is no TLS.
    """
    # Any: redis-py's types are those of its sync and its async client at once.
    return redis.Redis.from_url(settings.url, retry=Retry(NoBackoff(), 0), **_options(settings))


def open_async_client(settings: RedisSettings) -> Any:
    """Make a client for an event loop, otherwise as `open_client` does."""
    retry = AsyncRetry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(settings.url, retry=retry, **_options(settings))


def _options(settings: RedisSettings) -> dict[str, Any]:
    options = redis_options(settings)
    # From Redis 7.2 on it takes a right to say what library this is, so who logs in is silent.
    # Who does not must have an answer: over TLS a server begins with session tickets, and redis-py
    # takes them, where nothing was answered before, for an answer to somebody else and gives up.
    logs_in = {"username", "password"} & {*options} or "@" in urlsplit(settings.url).netloc
    return {
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "protocol": 2,
        **({"driver_info": None} if logs_in else {}),
        **options,
    }


@contextmanager
def translated() -> Iterator[None]:
    """Map redis-py's errors to ours, here and nowhere else."""
    try:
        yield
    except (refusals.AuthenticationError, refusals.NoPermissionError) as error:
        raise StoreRefused(f"Redis refuses us: {error}: {_remedy(error)}") from error
    except (refusals.ConnectionError, refusals.TimeoutError) as error:
        if "CERTIFICATE" in str(error).upper():
            raise StoreRefused(
                f"Redis and we do not trust each other ({error}): check redis.ssl_* and the host "
                "in redis.url"
            ) from error
        raise StoreUnavailable(f"cannot reach Redis: {error}") from error
    except refusals.WatchError as error:
        raise StoreUnavailable(f"Redis changed under a claim, trying again: {error}") from error
    except refusals.ResponseError as error:
        if str(error).startswith(_PASSING) or isinstance(
            error, (refusals.OutOfMemoryError, refusals.ReadOnlyError)
        ):
            raise StoreUnavailable(f"Redis cannot serve now: {error}") from error
        raise StoreRefused(f"Redis refuses us: {error}") from error


def _remedy(error: Exception) -> str:
    if isinstance(error, refusals.NoPermissionError):
        return "its ACL lacks what `tocsin rights list` names"
    return "check redis.username and redis.password"
