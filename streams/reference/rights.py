"""The page of what each role needs in Kafka and Redis."""

from __future__ import annotations

from streams.reference.fields import table
from streams.rights import ROLES, WHO, by_resource, kafka_rights, redis_rule
from streams.settings import Settings


def rights_page(settings: Settings) -> str:
    """Write down what each role needs in Kafka and Redis, as one page."""
    lines = [
        "# Rights",
        "",
        "The least that each part of Tocsin must be allowed, with the default names. `tocsin",
        "rights list` prints it with yours. [Security](../security.md) says how to grant it.",
    ]
    for role in ROLES:
        lines += ["", f"## {role}", "", f"Who {WHO[role]}."]
        rights = by_resource(kafka_rights(role, settings)).items()
        lines += table(
            ("Kafka", "name", "operations"),
            ((kind, f"`{name}`", ", ".join(allowed)) for (kind, name), allowed in rights),
        )
        rule = redis_rule(role, settings)
        if rule is None:
            lines += ["", "Needs no Redis."]
        else:
            lines += ["", f"Redis: `{rule}`"]
    return "\n".join(lines) + "\n"
