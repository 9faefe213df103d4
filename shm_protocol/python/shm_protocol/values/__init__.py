"""Values on the wire (PROTOCOL.md section 8): what may be sent, and what arrives.

wire.py has the limits, ext_types.py the timestamps and arrays; reduced.py says what a value of another type than the
plain ones is sent as. encoder.py and decoder.py do the rest, and _codec.pyx does it quicker where it is compiled: never
another opinion.
"""

from __future__ import annotations

from .brief import brief
from .ext_types import ARRAY_DTYPES, MAX_ARRAY_BYTES, MAX_ARRAY_DIMENSIONS, NdArray
from .reference import FUNCTION, MAX_NAME_BYTES, OBJECT, RETURNED, Held, Reference
from .tables import TableBytes
from .wire import (
    EXT_ARRAY,
    MAX_DEPTH_RECEIVED,
    MAX_DEPTH_SENT,
    MAX_INT,
    MAX_VALUES,
    MIN_INT,
    HasReferences,
    Unreadable,
)

__all__ = [
    "ARRAY_DTYPES",
    "EXT_ARRAY",
    "FUNCTION",
    "MAX_ARRAY_BYTES",
    "MAX_ARRAY_DIMENSIONS",
    "MAX_DEPTH_RECEIVED",
    "MAX_DEPTH_SENT",
    "MAX_INT",
    "MAX_NAME_BYTES",
    "MAX_VALUES",
    "MIN_INT",
    "OBJECT",
    "RETURNED",
    "Encoder",
    "HasReferences",
    "Held",
    "NdArray",
    "Reference",
    "TableBytes",
    "Unreadable",
    "brief",
    "decode",
    "decode_plain",
]

try:
    from .._codec import Encoder, decode, decode_plain
except ImportError:
    # The socket transport does without anything compiled.
    from .decoder import decode, decode_plain
    from .encoder import Encoder  # type: ignore[assignment]  # one of the two
