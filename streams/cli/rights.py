"""`tocsin rights`: the least that each part of Tocsin must be allowed, and granting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.admin import connect
from streams.cli.start import start
from streams.errors import SettingsError
from streams.rights import ROLES, WHO, Role, by_resource, kafka_rights, redis_rule, redis_user

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="What each part of Tocsin must be allowed in Kafka and Redis: the least.",
)

RoleArgument = Annotated[
    str, typer.Argument(metavar="ROLE", help="One of those that `tocsin rights list` names.")
]


@app.command(name="list")
def list_(
    roles: Annotated[
        list[str] | None, typer.Argument(metavar="[ROLE]...", help="All of them by default.")
    ] = None,
) -> None:
    """List the rights of each role, with the names of topics and groups that are set."""
    settings = start()
    for role in [_role(name) for name in roles] if roles else ROLES:
        print(f"{role}: who {WHO[role]}")
        for (resource, name), allowed in by_resource(kafka_rights(role, settings)).items():
            print(f"  Kafka: {resource} {name}: {', '.join(allowed)}")
        print(f"  Redis: {redis_rule(role, settings) or 'none'}\n")


@app.command()
def grant(
    role: RoleArgument,
    *,
    to: Annotated[str, typer.Option("--to", metavar="USER", help="A Kafka user, without `User:`.")],
    password: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="Also make the user, or give it this password (SCRAM-SHA-512).",
        ),
    ] = None,
) -> None:
    """Allow a user of Kafka what a role needs. The settings are those of an administrator."""
    settings = start()
    rights = kafka_rights(_role(role), settings)
    secret = "" if password is None else _content(password)
    with connect(settings.kafka) as admin:
        if secret:
            admin.set_password(to, secret)
        admin.grant(to, rights)
    print(f"{to} may do what {role} needs: {len(rights)} rights")


@app.command()
def redis(role: RoleArgument) -> None:
    """Print the line of a Redis ACL file for the user that a role's own settings name.

    It holds the hash of `redis.password`, not the password.
    """
    settings = start()
    if not settings.redis.password.get_secret_value():
        raise SettingsError("redis.password is empty: set that of the user, as its worker has it")
    line = redis_user(_role(role), settings)
    if line is None:
        raise SettingsError(f"{role} needs no Redis")
    print(line)


def _role(name: str) -> Role:
    if name not in ROLES:
        raise SettingsError(f"no role is called {name!r}: one of {', '.join(ROLES)}")
    return name


def _content(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read --password-file {path}: {error.strerror}") from None
    if not secret:
        raise SettingsError(f"--password-file {path} is empty")
    return secret
