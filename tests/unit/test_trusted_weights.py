"""Workers ask for a signature of the weights that the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ArtifactError
from streams.app.build import build_agent
from streams.settings import load_settings
from streams.status import Status
from tests.fakes.model import random_model


@pytest.mark.parametrize("agent", ["fraud", "vision"])
def test_a_worker_refuses_weights_that_nobody_has_signed(agent: str, tmp_path: Path) -> None:
    model = random_model(tmp_path)
    settings = load_settings(
        redis={"url": "memory://"},
        models={"trusted_keys": [str(tmp_path / "key.pub")]},
        fraud={"model": str(model)},
        vision={"model": str(model)},
    )
    (tmp_path / "key.pub").write_text(
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )

    with pytest.raises(ArtifactError, match=r"random\.json is not signed"):
        build_agent(agent, settings, Status(), lambda store: store)  # type: ignore[arg-type]
