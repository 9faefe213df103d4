"""Every public name is explained, every link of the pages leads somewhere, and every page can be found."""

import fnmatch
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pdoc.doc
import pytest
from services import ROOT

from docs.reference import python_pages

BUILT = {"node_modules", "build", "dist"}


def pages_of(folder: Path) -> list[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*.md"))
    return sorted(path for path in found if not any(part in BUILT or part.startswith(".") for part in path.parts))


def dead_links(folder: Path, pages: list[Path]) -> tuple[int, str]:
    """The exit code of the link checker, and what it said."""
    command = ["npm", "run", "--silent", "--prefix", str(ROOT), "links", "--", *(str(folder / page) for page in pages)]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout


def test_every_link_between_pages_leads_to_a_file_and_to_a_heading_of_it() -> None:
    pages = pages_of(ROOT)
    assert len(pages) > 10
    assert dead_links(ROOT, pages)[0] == 0, dead_links(ROOT, pages)[1]


@pytest.mark.parametrize("target", ["gone.md", "there.md#gone", "#gone", "there/gone.json"])
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, target: str) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n\n[a heading](there.md#one), [a page]({target})\n")
    (tmp_path / "there.md").write_text("# One\n")
    code, said = dead_links(tmp_path, pages_of(tmp_path))
    assert code == 1
    assert "gone" in said
    assert "1 warning" in said


def test_every_page_can_be_reached_from_the_index_of_the_documentation() -> None:
    found: set[Path] = set()
    left = [ROOT / "docs" / "README.md"]
    while left:
        page = left.pop()
        if page not in found:
            found.add(page)
            targets = re.findall(r"\]\(([^)#]+\.md)\b", page.read_text())
            left += [(page.parent / target).resolve() for target in targets if "://" not in target]
    # Of a result set that somebody has measured here and not committed nobody knows.
    assert {ROOT / page for page in pages_of(ROOT) if "results" not in page.parts} <= found


def public_names() -> Iterator[tuple[pdoc.doc.Doc[Any], pdoc.doc.Module | pdoc.doc.Class | None]]:
    """All that the reference of the Python library shows: each with what it belongs to."""
    for module in python_pages.modules():
        yield module, None
        for member in module.members.values():
            yield member, module
            if isinstance(member, pdoc.doc.Class):
                for inner in member.members.values():
                    if not inner.name.startswith("_") and python_pages.is_for_programs(inner):
                        yield inner, member


def is_explained(doc: pdoc.doc.Doc[Any], owner: pdoc.doc.Module | pdoc.doc.Class | None) -> bool:
    if doc.docstring:
        return True
    # A variable is explained by its module, an attribute by its class or the one that it is inherited from.
    owners = owner.obj.__mro__ if isinstance(owner, pdoc.doc.Class) else [owner.obj] if owner is not None else []
    return any(python_pages.explained_in(one.__doc__ or "", doc.name) for one in owners)


def test_every_public_name_of_the_python_library_is_explained() -> None:
    names = list(public_names())
    assert len(names) > 80
    assert [doc.fullname for doc, owner in names if not is_explained(doc, owner)] == []


def test_what_is_kept_out_of_the_reference_is_there() -> None:
    everything = {
        doc.fullname
        for module in python_pages.modules()
        for member in module.members.values()
        for doc in (member, *(member.members.values() if isinstance(member, pdoc.doc.Class) else ()))
    }
    for pattern in python_pages.NOT_FOR_PROGRAMS:
        assert fnmatch.filter(everything, pattern), pattern


def test_every_public_name_of_the_typescript_library_is_explained() -> None:
    command = ["npm", "run", "--silent", "docs", "--", "--emit", "none"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_stands_in_a_docstring_is_on_the_page_as_it_stands() -> None:
    (flask,) = [module for module in python_pages.modules() if module.modulename == "shm_protocol.flask"]
    bridge = flask.members["Bridge"]
    assert '"flask <app>"' in bridge.docstring
    text = python_pages.markdown_of(bridge)
    assert '"flask &lt;app>"' in text
    assert '@app.get("/slug/<text>")' in text  # an example is code already
    assert "**expose**: " in text
    assert "`shm_protocol.ConfigError`" in python_pages.markdown_of(flask.get("Bridge.init_app") or bridge)
