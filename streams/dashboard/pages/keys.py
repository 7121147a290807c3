"""Keys as commands of a page, wherever its focus is but in a field into which one types."""

from __future__ import annotations

from nicegui.elements.keyboard import Keyboard


class Keys(Keyboard, component="assets/keys.js"):
    """NiceGUI's keyboard tells fields apart by their tag alone, and a tick box is an input too."""
