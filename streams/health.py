"""Liveness, readiness and metrics over HTTP, on a thread of their own.

The event loop and the scoring threads may be busy for seconds; these answers must not wait.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.errors import SettingsError
from streams.settings import HealthSettings
from streams.status import Status

CLIENT_TIMEOUT_S = 10.0
"""A client that sends half a request loses its thread again after this."""


class HealthServer:
    """``/livez`` (200 while the process runs), ``/readyz`` (200 or 503, and why), ``/metrics``.

    A context manager; `port` is the one that it listens on.
    """

    def __init__(
        self, settings: HealthSettings, status: Status, registry: CollectorRegistry
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = CLIENT_TIMEOUT_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/livez":
                    self._answer(200, "application/json", b'{"live": true}\n')
                elif path == "/readyz":
                    reasons = status.reasons()
                    found = {"ready": not reasons, "state": status.state(), "reasons": reasons}
                    body = json.dumps(found) + "\n"
                    self._answer(503 if reasons else 200, "application/json", body.encode())
                elif path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                else:
                    self._answer(404, "text/plain", b"/livez, /readyz or /metrics\n")

            def _answer(self, code: int, content_type: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - stdlib's
                """Say nothing: probes come every few seconds."""

        try:
            self._server = _QuietServer((settings.host, settings.port), Handler)
        except OSError as error:
            raise SettingsError(
                f"health server cannot listen on {settings.host}:{settings.port}: "
                f"{error.strerror}: set health.port (0 picks a free one)"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that times out hangs up on us; that is no news, and comes every few seconds."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
