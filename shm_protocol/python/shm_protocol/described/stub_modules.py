"""`ml.mjs`, a module of stubs for tools of JavaScript's that know no import hooks, from a description."""

from __future__ import annotations

import json
from typing import Final

from .description import Module

PACKAGE: Final = "@shm-polyglot/protocol/stubs"
_CALL: Final = "generatedStubs(import.meta.url, "


def written(module: Module, beside: str, from_folder: str) -> str:
    """The text of the module, without a first line that says where it comes from. beside: the Python file from where
    the module is to stand. from_folder: from the current folder.
    """
    # Neither where it was made nor each edit is a difference.
    described = {**module, "file": from_folder, "sha256": ""}
    places = ", ".join(json.dumps(place) for place in (beside, from_folder))
    lines = [
        f'import {{ generatedStubs }} from "{PACKAGE}";\n\n',
        f"const stubs = {_CALL}{places}, {json.dumps(described)});\n",
    ]
    names = _exported(module)
    lines += [f"const ${place} = stubs[{json.dumps(name)}];\n" for place, name in enumerate(names)]
    lines.append(f"export {{ {', '.join(f'${place} as {name}' for place, name in enumerate(names))} }};\n")
    return "".join(lines)


def source_in(text: str) -> str | None:
    """The Python file of the module that has this text, from where the module stands; None where it does not tell."""
    _, _, told = text.partition(_CALL)
    try:
        beside, _ = json.JSONDecoder().raw_decode(told)
    except ValueError:
        return None
    return beside if isinstance(beside, str) and "\0" not in beside else None


def _exported(module: Module) -> list[str]:
    """What can be imported by name. What is only a type is undefined, because an import of one may be left in."""
    parts = (module["functions"], module["classes"], module["instances"], module["types"], module["constants"])
    names = [one["name"] for part in parts for one in part]
    # What has a `then` is taken for a promise by whoever imports it, and never arrives.
    return [name for name in dict.fromkeys(names) if name != "then" and name.isidentifier()]
