"""A tone when an alert comes, for who asked for one in this tab."""

from __future__ import annotations

from typing import Final

from nicegui import ui

_RING: Final = """
const bell = window.bell ??= new AudioContext();
bell.resume();
const tone = bell.createOscillator(), volume = bell.createGain(), now = bell.currentTime;
tone.frequency.value = 880;
volume.gain.setValueAtTime(0.2, now);
volume.gain.exponentialRampToValueAtTime(0.001, now + 0.4);
tone.connect(volume).connect(bell.destination);
tone.start(now);
tone.stop(now + 0.4);
"""


class Sound:
    """The button that turns it on and off, and the tone."""

    def __init__(self, *, is_on: bool) -> None:
        self._button = ui.button(icon="volume_off", on_click=self._flip).props(
            'flat dense size=13px aria-label="Sound" aria-pressed=false'
        )
        self._button.tooltip("A tone when an alert comes that this list shows")
        self._set(is_on=is_on)

    def ring(self) -> None:
        """Sound once, if one asked for it; browsers allow it after a click, as that is."""
        if self._is_on:
            ui.run_javascript(_RING)

    def _flip(self) -> None:
        self._set(is_on=not self._is_on)
        ui.run_javascript(f"sessionStorage.setItem('tocsin-sound', '{int(self._is_on)}')")
        self.ring()

    def _set(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._button.set_icon("volume_up" if is_on else "volume_off")
        self._button.props(f"aria-pressed={str(is_on).lower()}")
