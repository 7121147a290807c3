"""GStreamer's RTSP server with a test picture. Runs on the system's Python, which has its bindings.

A program: ``/usr/bin/python3 rtsp_server.py PORT``; says ``ready`` once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  their versions come first

PICTURES = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,"
    "framerate=10/1 ! openh264enc gop-size=5 ! h264parse ! rtph264pay name=pay0 pt=96 )"
)


def main() -> None:
    """Serve ``rtsp://127.0.0.1:PORT/yard`` for ever."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PICTURES)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/yard", factory)
    if not server.attach(None):
        sys.exit("cannot listen")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
