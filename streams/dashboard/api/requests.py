"""What every endpoint asks of its request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request

from streams.dashboard.access.users import Principal
from streams.dashboard.services import Services


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _analyst(request: Request) -> Principal:
    principal: Principal | None = request.state.principal
    if principal is None or not principal.may_act:
        raise HTTPException(403, "this takes the role analyst")
    return principal


Has = Annotated[Services, Depends(_services)]
Analyst = Annotated[Principal, Depends(_analyst)]
"""Who asks, where that is somebody who may change things."""
