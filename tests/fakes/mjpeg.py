"""A camera that streams over HTTP as most do: JPEGs one after another in a multipart answer."""

from __future__ import annotations

import base64
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.fakes.blobs import walk

STEP_S = 0.05
_PASSWORD = "Basic " + base64.b64encode(b"user:secret").decode()
_PICTURES = walk(40)


class MjpegCamera:
    """Shows its pictures to who knows its password, ``secret`` of ``user``.

    It keeps its port when it is stopped and started again; `hang` stops the pictures alone.
    """

    def __init__(self) -> None:
        self.hang = threading.Event()
        self._gone = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def start(self) -> None:
        camera, gone = self, threading.Event()
        self._gone = gone

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers["Authorization"] != _PASSWORD:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                number = 0
                while not gone.is_set():
                    if not camera.hang.is_set():
                        picture = _PICTURES[number % len(_PICTURES)]
                        number += 1
                        head = (
                            f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                        )
                        try:
                            self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")
                        except OSError:
                            return
                    time.sleep(STEP_S)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def place(self) -> str:
        """``host:port`` of the last time that it listened."""
        return f"127.0.0.1:{self._port}"
