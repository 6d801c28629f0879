"""ONNX models as bytes: the few messages of its format that are needed here, written as protocol buffers.

The package `onnx` would do it too. It takes 31 MB on disk and a tenth of a second to import, for what is a page of code.
"""

import struct
from collections.abc import Iterable

import numpy as np

IR_VERSION = 11
OPSETS = {"": 24, "com.microsoft": 1}  # domain -> version of its operators
TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6, np.dtype(np.int64): 7}
FLOAT, INT, INTS = 1, 2, 7  # what an attribute is

Value = tuple[str, type[np.generic], Iterable[int | str]]  # name, type, shape; a dimension that varies has a name


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte, least first. A negative one as the 64-bit number with the same bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, *parts: bytes | memoryview | str) -> bytes:
    """A field of text, bytes or a message: the parts one after the other."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join([varint(field << 3 | 2), varint(sum(map(len, encoded))), *encoded])


def attribute(name: str, value: int | float | list[int]) -> bytes:
    if isinstance(value, float):
        content, kind = varint(2 << 3 | 5) + struct.pack("<f", value), FLOAT
    elif isinstance(value, int):
        content, kind = number(3, value), INT
    else:
        content, kind = b"".join(number(8, each) for each in value), INTS
    return block(5, block(1, name), content, number(20, kind))


def node(operator: str, inputs: list[str], outputs: list[str], domain: str, attributes: dict) -> bytes:
    return block(
        1,
        *(block(1, name) for name in inputs),
        *(block(2, name) for name in outputs),
        block(4, operator),
        *(attribute(name, value) for name, value in attributes.items()),
        block(7, domain),
    )


def tensor(name: str, array: np.ndarray) -> list[bytes | memoryview]:
    """An initialiser in two parts, the second being the array's own memory."""
    array = np.ascontiguousarray(array)
    data: bytes | memoryview = array.reshape(-1).view(np.uint8).data if array.size else b""
    head = b"".join([*(number(1, size) for size in array.shape), number(2, TYPES[array.dtype]), block(8, name)])
    head += varint(9 << 3 | 2) + varint(len(data))
    return [varint(5 << 3 | 2) + varint(len(head) + len(data)) + head, data]


def value(field: int, name: str, kind: type[np.generic], shape: Iterable[int | str]) -> bytes:
    """An input (field 11) or output (field 12) of a graph."""
    dimensions = [block(1, number(1, size) if isinstance(size, int) else block(2, size)) for size in shape]
    return block(field, block(1, name), block(2, block(1, number(1, TYPES[np.dtype(kind)]), block(2, *dimensions))))


def model(nodes: list[bytes], constants: dict[str, np.ndarray], inputs: list[Value], outputs: list[Value]) -> bytes:
    parts: list[bytes | memoryview] = [*nodes, block(2, "network")]
    for name, array in constants.items():
        parts += tensor(name, array)
    parts += [value(11, *each) for each in inputs] + [value(12, *each) for each in outputs]
    opsets = [block(8, block(1, domain), number(2, version)) for domain, version in OPSETS.items()]
    return b"".join([number(1, IR_VERSION), *opsets, varint(7 << 3 | 2), varint(sum(map(len, parts))), *parts])


class Builder:
    """The nodes and constants of a model, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: dict[str, np.ndarray] = {}
        self.count = 0

    def node(self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: object) -> str:
        """Add a node; returns the name of its output, a new one unless it is given."""
        if output is None:
            output = f"v{self.count}"
            self.count += 1
        self.nodes.append(node(operator, list(inputs), [output], domain, attributes))
        return output

    def split(self, x: str, axis: int) -> list[str]:
        """x in three equal parts."""
        outputs = [f"v{self.count + i}" for i in range(3)]
        self.count += 3
        self.nodes.append(node("Split", [x], outputs, "", {"axis": axis, "num_outputs": 3}))
        return outputs

    def constant(self, array: np.ndarray | np.generic) -> str:
        self.constants[name := f"c{len(self.constants)}"] = np.asarray(array)
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """0 stands for the size that is there, -1 for the one that fits."""
        name = "shape" + ",".join(map(str, shape))
        self.constants[name] = np.array(shape, np.int64)
        return self.node("Reshape", x, name)

    def model(self, inputs: list[Value], outputs: list[Value]) -> bytes:
        return model(self.nodes, self.constants, inputs, outputs)
