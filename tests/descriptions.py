"""Descriptions of modules, by hand: what is awkward to write in the other language as well."""

from typing import Any, cast

from shm_protocol.described.description import Class, Function, Module, Overload, Parameter, Type

INT: Type = {"kind": "int"}
FLOAT: Type = {"kind": "float"}
STR: Type = {"kind": "str"}
NONE: Type = {"kind": "none"}
BOOL: Type = {"kind": "bool"}
BYTES: Type = {"kind": "bytes"}
ANY: Type = {"kind": "any"}
DATETIME: Type = {"kind": "datetime"}
FLOATS: Type = {"kind": "array", "dtype": "float64"}
NUMBERS: Type = {"kind": "array", "dtype": None}


def list_of(item: Type) -> Type:
    return {"kind": "list", "item": item}


def dict_of(key: Type, value: Type) -> Type:
    return {"kind": "dict", "key": key, "value": value}


def union(*options: Type) -> Type:
    return {"kind": "union", "options": list(options)}


def literal(*values: Any) -> Type:
    return {"kind": "literal", "values": list(values)}


def iterator(item: Type) -> Type:
    return {"kind": "iterator", "item": item, "async": False}


def callable_of(params: list[Type] | None, result: Type) -> Type:
    return {"kind": "callable", "params": params, "result": result}


def ref(name: str) -> Type:
    return {"kind": "ref", "name": name}


def handle(name: str) -> Type:
    return {"kind": "handle", "name": name}


def unknown(text: str) -> Type:
    return {"kind": "unknown", "text": text}


def given(name: str, of: Type, kind: Any = "either", *, optional: bool = False) -> Parameter:
    return {"name": name, "type": of, "kind": kind, "optional": optional}


def taking(*params: Parameter, result: Type = NONE) -> Overload:
    return {"params": list(params), "result": result}


def function(name: str, *overloads: Overload, doc: str | None = None) -> Function:
    return {"name": name, "doc": doc, "async": False, "overloads": list(overloads)}


def module(**parts: Any) -> Module:
    empty: Any = {
        "language": "python",
        "file": "/project/ml.py",
        "sha256": "0" * 64,
        "doc": None,
        "functions": [],
        "classes": [],
        "instances": [],
        "types": [],
        "constants": [],
        "skipped": [],
    }
    return cast("Module", {**empty, **parts})


MODEL: Class = {
    "name": "Model",
    "doc": "A model, and what it has learnt.",
    "init": taking(given("path", STR), given("seed", INT, "keyword", optional=True)),
    "methods": [
        function("predict", taking(given("text", STR), result=ref("Prediction")), doc="The sentiment of one text."),
        function("new", taking(result=handle("Model"))),
        function("items", taking(result=iterator(INT))),
    ],
    "static": [function("load", taking(given("path", STR), result=handle("Model")))],
}

SAMPLE: Module = module(
    doc='A module with everything.\n\nIt says "*/" and \\n.',
    types=[
        {
            "name": "Prediction",
            "doc": "What the model says.",
            "shape": "typed_dict",
            "fields": [
                {"name": "sentiment", "type": literal("positive", "negative"), "optional": False, "doc": None},
                {"name": "confidence", "type": FLOAT, "optional": False, "doc": "From 0 to 1."},
                {"name": "a-key", "type": union(NONE, STR), "optional": True, "doc": None},
            ],
        },
        {
            "name": "Point",
            "doc": None,
            "shape": "dataclass",
            "fields": [
                {"name": "x", "type": FLOAT, "optional": False, "doc": None},
                {"name": "y", "type": FLOAT, "optional": True, "doc": None},
            ],
        },
        {
            "name": "Colour",
            "doc": "Of a light.",
            "shape": "enum",
            "members": [{"name": "RED", "value": "red"}, {"name": "GREEN", "value": "green"}],
        },
        {"name": "Number", "doc": None, "shape": "alias", "type": union(INT, FLOAT)},
        # JavaScript has types of these names, and words.
        {"name": "Promise", "doc": None, "shape": "alias", "type": STR},
        {"name": "string", "doc": None, "shape": "alias", "type": INT},
    ],
    classes=[MODEL],
    instances=[
        {"name": "model", "class": "Model", "methods": MODEL["methods"], "doc": "The one that is used."},
        {"name": "counter", "class": None, "methods": [function("count", taking(result=INT))], "doc": None},
    ],
    constants=[
        {"name": "NAME", "type": STR, "value": 'a "name"', "doc": None},
        {"name": "RATES", "type": list_of(FLOAT), "value": [0.5], "doc": None},
        {"name": "LARGE", "type": INT, "value": 2**60, "doc": None},
    ],
    functions=[
        function("predict", taking(given("text", STR), result=ref("Prediction")), doc="The sentiment.\n\n    As ever."),
        function(
            "greet",
            taking(
                given("name", STR),
                given("times", INT, optional=True),
                given("locale", literal("de", "en"), "keyword", optional=True),
                result=STR,
            ),
        ),
        function("log_in", taking(given("user", STR, optional=True), given("key", STR, "keyword"), result=BOOL)),
        function("total", taking(given("numbers", FLOAT, "var"), given("start", FLOAT, "keyword", optional=True))),
        function("labels", taking(given("size", INT, "keyword"), given("labels", STR, "var_keyword"))),
        function("scale", taking(given("values", FLOATS), given("by", FLOAT), result=FLOATS)),
        function("shape_of", taking(given("values", NUMBERS), result=list_of(INT))),
        function("count_up", taking(given("to", INT), result=iterator(INT))),
        function("each", taking(given("on_item", callable_of([INT], NONE)), given("done", callable_of(None, ANY)))),
        function("doubling", taking(result=callable_of([INT], INT))),
        function("mapped", taking(given("of", callable_of([INT], STR)), result=list_of(STR))),
        function(
            "parse", taking(given("text", STR), result=INT), taking(given("text", BYTES), result=FLOAT), doc="Either."
        ),
        function("find", taking(given("name", STR), result=union(NONE, ref("Point")))),
        function("by_id", taking(result=dict_of(INT, STR))),
        function("count_words", taking(given("texts", list_of(STR)), result=dict_of(STR, INT))),
        function("paint", taking(given("colour", ref("Colour")), result=ref("Colour"))),
        function("now", taking(result=DATETIME)),
        function("train", taking(given("model", handle("Model")), result=handle("Model"))),
        function("named", taking(given("name", ref("Promise")), given("n", ref("string")), result=ref("string"))),
        function("odd", taking(given("x", unknown("Foo[int]")), result=unknown("Bar"))),
        function("delete", taking(given("new", STR), given("this", STR), given("new_", STR), result=STR)),
        function("nothing", taking()),
    ],
)
