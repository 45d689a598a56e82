"""Pages put together: a template, its data, a style and scripts that no other script can join."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files
from typing import Any


def filled(template: str, script: str, data: object, library: str = "", **texts: Any) -> str:
    """Return a page of this folder's template and script, with plotly.js.

    Parameters
    ----------
    data : what the script reads, as JSON.
    library : the address of plotly.js; it is in the page unless given.
    texts : what the template names; it escapes them.
    """
    from jinja2 import Environment

    scripts = [_part(script)] if library else [plotly_js(), _part(script)]
    allowed = ["'self'", "file:"] if library else []
    allowed += [f"'sha256-{_sha256(text)}'" for text in scripts]
    page = Environment(autoescape=True).from_string(_part(template))
    return page.render(
        data=data,
        style=_part("page.css"),
        scripts=scripts,
        library=library,
        allowed=" ".join(allowed),
        **texts,
    )


@cache
def plotly_js() -> str:
    """Return plotly.js as a script that may stand in a page."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _part(name: str) -> str:
    return (files("cli.show.html") / name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()
