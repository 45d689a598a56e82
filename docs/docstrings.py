"""How the site reads docstrings: what follows a name and a colon describes it; its type is in the code."""

import re
from typing import Any

import griffe


class Described(griffe.Extension):
    """Turn `name : description` into NumPy's form, in which a description stands below its name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object once it has been collected."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^(\w+(?:, \w+)*) : (.+)$", r"\1\n    \2", obj.docstring.value, flags=re.MULTILINE
            )
