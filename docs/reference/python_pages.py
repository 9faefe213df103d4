"""The reference of the Python library, from its docstrings: python -m docs.reference.python_pages FOLDER"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pdoc
import pdoc.doc
import pdoc.render

PUBLIC: Final = ("shm_protocol", "shm_protocol.gunicorn", "shm_protocol.flask")
"""The modules that programs import, each with the names in its `__all__`."""

NOT_FOR_PROGRAMS: Final = (
    *(f"shm_protocol.{name}.__init__" for name in ("AsyncClient", "Client", "ClientStream", "Connection")),
    *(f"shm_protocol.{name}.__init__" for name in ("ConnectionInfo", "CurrentCall", "Peer", "Settings", "Stream")),
    "shm_protocol.*.after_fork_in_child",
    *(f"shm_protocol.Client.{name}" for name in ("*_with", "close_idle", "dial_first", "discard", "is_mine")),
    *(f"shm_protocol.Client.{name}" for name in ("end_turn", "leased", "release", "stirred", "stream_on", "take")),
    "shm_protocol.AsyncClient.*_with",
    "shm_protocol.AsyncClient.exchange",
    "shm_protocol.Callback.__init__",
    "shm_protocol.Handle.__init__",
    *(f"shm_protocol.Connection.{name}" for name in ("abandon", "advance", "end_for", "give_up", "grant", "heed")),
    *(f"shm_protocol.Connection.{name}" for name in ("lend_through", "owner", "require_owner", "serve_until")),
    "shm_protocol.Connection.*_with",
    "shm_protocol.Connection.*_reference*",
    "shm_protocol.gunicorn.BridgeWorker.*",
)
"""What the library itself, or gunicorn, calls of a public class: no part of the reference."""

_ORDINARY_WORDS: Final = {"Cancelled", "Client", "Connection", "Peer", "Settings", "Stream", "Worker", "Bridge"}
"""Names that a sentence may begin with and mean something else."""


def modules() -> Iterator[pdoc.doc.Module]:
    """The public modules as pdoc sees them."""
    for name in PUBLIC:
        module = import_module(name)
        # What is imported only when it is asked for: pdoc looks at what is there.
        vars(module).update({public: getattr(module, public) for public in module.__all__})
        yield pdoc.doc.Module(module)


def is_for_programs(doc: pdoc.doc.Doc[Any]) -> bool:
    """Whether it belongs into the reference. What a class has from another package is that one's to document."""
    if doc.qualname and not doc.taken_from[0].startswith("shm_protocol"):
        return False
    return not any(fnmatchcase(doc.fullname, pattern) for pattern in NOT_FOR_PROGRAMS)


def markdown_of(doc: pdoc.doc.Doc[Any]) -> str:
    """A docstring as Markdown: an argument or attribute that it explains is bold, and a public name is a link."""
    paragraphs = doc.docstring.split("\n\n")
    return "\n\n".join(text if text.startswith("    ") else _marked(text, doc) for text in paragraphs)


def explained_in(docstring: str, name: str) -> bool:
    """Whether it says what that argument or attribute is: `name: …`, or `one, name: …`."""
    return _explanation_of([name]).search(docstring) is not None


def _explanation_of(names: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.`])({'|'.join(map(re.escape, names))})(?=(?:, \w+)*: )")


def _marked(text: str, doc: pdoc.doc.Doc[Any]) -> str:
    names = sorted(_names_of(doc))
    # What is in backquotes already stays as it is.
    parts = re.split(r"(`[^`]*`)", text)
    for index, part in enumerate(parts[::2]):
        # A docstring is plain text: `<app>` is no HTML in it.
        marked = part.replace("<", "&lt;")
        marked = _explanation_of(names).sub(r"**\1**", marked) if names else marked
        parts[2 * index] = re.sub(
            r"(?<![\w.@])[A-Za-z_]\w*(?:\.\w+)?(?:\(\))?", lambda found: _link(found[0], doc), marked
        )
    return "".join(parts)


def _names_of(doc: pdoc.doc.Doc[Any]) -> set[str]:
    if isinstance(doc, pdoc.doc.Function):
        return set(doc.signature.parameters)
    if not isinstance(doc, pdoc.doc.Namespace):
        return set()
    constructor = doc.members.get("__init__")
    arguments = _names_of(constructor) if constructor is not None and is_for_programs(constructor) else set()
    return {*doc.members, *arguments}


def _link(word: str, doc: pdoc.doc.Doc[Any]) -> str:
    name = word.removesuffix("()").partition(".")[0]
    public = import_module("shm_protocol").__all__
    is_plain_word = word == name and (name in _ORDINARY_WORDS or not name[0].isupper())
    if name not in public or is_plain_word:
        return word
    return f"`{word}`" if doc.modulename == "shm_protocol" else f"`shm_protocol.{word}`"


def write(folder: Path) -> None:
    """Write the pages into a folder."""
    for _ in modules():
        pass
    # Its default is reStructuredText, in which `name` is no code.
    pdoc.render.configure(docformat="markdown", show_source=False, template_directory=Path(__file__).parent / "pdoc")
    pdoc.render.env.globals["is_for_programs"] = is_for_programs
    pdoc.render.env.filters["markdown_of"] = markdown_of
    # Both a function and the module that it is in have that name.
    pdoc.pdoc(*PUBLIC, "!shm_protocol.current_call", output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
