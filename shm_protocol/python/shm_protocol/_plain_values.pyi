"""MessagePack of plain values; _plain_values.pyx says what each does."""

DECLINED: object

class PlainEncoder:
    def pack(self, value: object) -> bytes | None: ...

def decode_plain(message: bytes) -> object: ...
