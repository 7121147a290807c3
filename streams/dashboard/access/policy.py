"""What a browser may do with our pages.

Scripts run only where they come from this server or carry the nonce of the answer, so markup that
found its way into a page does not run. `unsafe-eval` remains: Vue compiles the page's templates in
the browser, and the page library hands its event handlers over as text. Inline styles remain too.
"""

from __future__ import annotations


def security_headers(nonce: str, *, https: bool) -> dict[str, str]:
    """Give the headers of every answer; `https` adds the one that forbids plain HTTP."""
    policy = {
        "default-src": "'self'",
        "script-src": f"'self' 'nonce-{nonce}' 'unsafe-eval'",
        "script-src-attr": "'none'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",  # without any, the origin of our own forms is hidden too
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    if https:
        headers["strict-transport-security"] = "max-age=31536000"
    return headers


def with_nonce(page: bytes, nonce: str) -> bytes:
    """Let the scripts that stand in a page of ours run.

    Text in it is escaped by whoever made it: a ``<script`` there is one of the page's own.
    """
    return page.replace(b"<script", b'<script nonce="' + nonce.encode() + b'"')
