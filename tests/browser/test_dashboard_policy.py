"""The content security policy, as Chromium keeps it."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

from tests.browser.conftest import WAIT_MS
from tests.dashboard import Dashboard

ADD = """([name, attributes, text]) => new Promise((told) => {
  addEventListener('securitypolicyviolation', (event) => told(event.effectiveDirective))
  const made = document.createElement(name)
  for (const attribute in attributes) made.setAttribute(attribute, attributes[attribute])
  made.text = text
  document.body.append(made)
  if (window.hurt) told('it ran')
})"""
HURT = "window.hurt = 1"


def test_what_got_into_a_page_does_not_run(context: BrowserContext, dashboard: Dashboard) -> None:
    page = context.new_page()  # not the one in whose console no error may stand
    page.goto(f"{dashboard.address}/health")
    page.wait_for_load_state("load", timeout=WAIT_MS)
    for name, attributes, text, directive in (
        ("script", {}, HURT, "script-src-elem"),
        ("script", {"nonce": "guessed"}, HURT, "script-src-elem"),
        ("script", {"src": f"data:text/javascript,{HURT}"}, "", "script-src-elem"),
        ("img", {"src": "data:,", "onerror": HURT}, "", "script-src-attr"),
        ("iframe", {"src": "https://elsewhere.example/"}, "", "frame-src"),
    ):
        assert page.evaluate(ADD, [name, attributes, text]) == directive, (name, attributes)
        assert page.evaluate("window.hurt") is None
    # With the nonce of the answer it would have run.
    nonce = page.evaluate("document.querySelector('script[nonce]').nonce")
    assert page.evaluate(ADD, ["script", {"nonce": nonce}, HURT]) == "it ran"
