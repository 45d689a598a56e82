"""Records as JSON."""

from __future__ import annotations

import json
import re


def to_json(data: object) -> str:
    r"""Return data as the text of JSON; what is no finite number becomes null.

    A byte of a file name that is no text, such as `\xff`, stands as `\udcff`, in letters.
    """
    import pydantic_core

    plain = pydantic_core.to_jsonable_python(data, inf_nan_mode="null")
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda lone: f"\\\\u{ord(lone[0]):x}", text)
