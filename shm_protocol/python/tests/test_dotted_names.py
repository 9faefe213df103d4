"""What is exposed by its name: imported, or told where that failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shm_protocol.exposed import Exposed

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules of a package `shop`, and forgets them."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> Path:
        file = tmp_path / "shop" / f"{name}.py"
        file.write_text(source)
        return file

    yield write
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]


def test_a_module_is_imported_by_its_name(write: Write) -> None:
    write("prices", "def gross(net): return net * 2")
    exposed = Exposed({"prices": "shop.prices"})
    assert set(exposed.functions) == {"prices.gross"}
    assert exposed.functions["prices.gross"](3) == 6


def test_what_is_in_a_module_is_exposed_by_a_name_with_a_colon(write: Write) -> None:
    write("models", "class Model:\n  def predict(self): return 1\nclass all: default = Model()\ndef free(): return 2")
    exposed = Exposed({"model": "shop.models:all.default", "free": "shop.models:free"})
    assert set(exposed.functions) == {"model.predict", "free"}


def refused(dotted: str) -> str:
    with pytest.raises(ImportError) as caught:
        Exposed({"ml": dotted})
    return str(caught.value)


def test_a_module_that_raises_is_told_with_the_file_and_the_line(write: Write) -> None:
    file = write("broken", "import os\n\nlimit = os.environ['SHOP_NO_SUCH_SETTING']\n")
    assert refused("shop.broken") == (
        f"expose: ml: the module 'shop.broken' cannot be imported: KeyError: 'SHOP_NO_SUCH_SETTING' ({file}, line 3)"
    )


def test_a_module_that_another_one_cannot_import_is_told_by_that_ones_line(write: Write) -> None:
    file = write("deep", "\nimport shop_needs_this\n")
    write("top", "import shop.deep\n")
    assert refused("shop.top") == (
        "expose: ml: the module 'shop.top' cannot be imported: "
        f"ModuleNotFoundError: No module named 'shop_needs_this' ({file}, line 2)"
    )


def test_a_syntax_error_is_told_with_the_file_and_the_line(write: Write) -> None:
    file = write("typo", "x = 1\ndef f(:\n")
    told = refused("shop.typo")
    assert told.startswith("expose: ml: the module 'shop.typo' cannot be imported: SyntaxError: ")
    assert told.endswith(f" ({file}, line 2)")


def test_a_module_that_exits_while_it_is_imported_ends_nothing(write: Write) -> None:
    file = write("script", "import sys\nsys.exit(3)\n")
    assert refused("shop.script").endswith(f"cannot be imported: SystemExit: 3 ({file}, line 2)")


def test_ctrl_c_during_an_import_ends_it(write: Write) -> None:
    write("stopped", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Exposed({"ml": "shop.stopped"})


def test_something_in_a_module_named_with_a_dot_is_told_to_need_a_colon(write: Write) -> None:
    write("models", "class model: ...")
    assert refused("shop.models.model").endswith("; for something in 'shop.models' write 'shop.models:model'")


def test_a_module_that_is_nowhere_is_told_where_it_is_looked_for(write: Write) -> None:
    assert refused("shop_elsewhere.ml").endswith(
        "; no folder of sys.path has it: start the program where 'shop_elsewhere' is, or set PYTHONPATH"
    )


def test_a_name_that_a_module_does_not_have_is_told(write: Write) -> None:
    write("models", "")
    assert refused("shop.models:modle") == (
        "expose: ml: 'shop.models:modle' has nothing of the name 'modle': "
        "AttributeError: module 'shop.models' has no attribute 'modle'"
    )


@pytest.mark.parametrize("dotted", ["", ".", "shop.", "shop models", "shop:", ":model", "shop:a b", "shop/models.py"])
def test_what_is_no_dotted_name_is_refused(write: Write, dotted: str) -> None:
    with pytest.raises(ValueError, match=r"expose: ml='.*': must be the name of a module, such as 'myapp.ml', or of"):
        Exposed({"ml": dotted})


def test_what_is_named_must_be_something_to_expose(write: Write) -> None:
    write("models", "limit = None\nclass Model: ...")
    with pytest.raises(TypeError, match="expose: ml is a class; expose an instance or its functions"):
        Exposed({"ml": "shop.models:Model"})


def test_the_functions_of_a_mapping_may_be_named_and_what_is_none_is_told_where_it_belongs(write: Write) -> None:
    write("stocks", "stock = {}\ndef in_stock(): return True\n")
    functions = Exposed({"shop": {"in_stock": "shop.stocks:in_stock", "length": len}}).functions
    assert set(functions) == {"shop.in_stock", "shop.length"}
    assert functions["shop.in_stock"]() is True
    with pytest.raises(
        TypeError, match=r"^expose: shop\.stock: 'shop.stocks:stock' is \{\}, not a function: what has"
    ) as caught:
        Exposed({"shop": {"stock": "shop.stocks:stock"}})
    assert str(caught.value).endswith("what has functions stands beside the others, 'shop.stock': 'shop.stocks:stock'")
    with pytest.raises(ImportError, match=r"^expose: shop\.sold: 'shop.stocks:sold' has nothing of the name 'sold'"):
        Exposed({"shop": {"sold": "shop.stocks:sold"}})
