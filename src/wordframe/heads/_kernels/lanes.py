"""Sixteen float32 numbers as one value inside numba's compiled loops: a lane a video, the same arithmetic in each.

The kernels of this folder score one text against sixteen videos at once, so that code for a single pair, written with
``Lanes`` in place of numbers, runs on whole vector registers without relying on a compiler to find them; LLVM splits a
value where the machine's registers are shorter. Arrays end in an axis of ``LANES``: ``load(x, (i, j))`` is
``x[i, j, :]``. Importing this module imports numba.

numba has no type for vectors, so one is made here: a type whose value in LLVM is ``<16 x float>`` (``_LanesType`` and
its model), ``intrinsic`` functions that write LLVM's instructions for it, and the four operators registered for it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, models, register_model

from wordframe.heads._kernels import LANES

LOWEST = -3.0e38
"""In place of −inf where a product with 0 may follow: −inf · 0 is NaN. Near float32's −3.4e38, but a sum still fits."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_FLAGS = ("contract", "nsz")
"""Multiply and add may become one step. Nothing is reordered: a result never depends on where a loop was cut."""


class _LanesType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


lanes = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _FLOATS)


def _splat(builder: Any, scalar: Any, vector: ir.VectorType = _FLOATS) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _constant(number: float | int, vector: ir.VectorType) -> ir.Constant:
    return ir.Constant(vector, [number] * LANES)


def _address(context: Any, builder: Any, signature: Any, array: Any, index: Any) -> Any:
    kind = signature.args[0]
    made = context.make_array(kind)(context, builder, array)
    indices = [*cgutils.unpack_tuple(builder, index), ir.Constant(ir.IntType(64), 0)]
    pointer = cgutils.get_item_pointer(context, builder, kind, made, indices)
    return builder.bitcast(pointer, _FLOATS.as_pointer())


def _places(array: Any) -> Any:
    return types.UniTuple(types.intp, array.ndim - 1)


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, index: Any) -> Any:
    """``array[index, :]``."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # Rows of an array begin at any float: LLVM would take 64 bytes for granted, and the processor would stop.
        return builder.load(_address(context, builder, signature, *arguments), align=4)

    return lanes(array, _places(array)), make


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index, :] = value``."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _address(context, builder, signature, *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, _places(array), lanes), make


@intrinsic  # type: ignore[untyped-decorator]
def spread(typing: Any, number: Any) -> Any:
    """One number in all lanes."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return lanes(types.float32), make


def _call(name: str) -> Callable[..., Any]:
    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * len(arguments))
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
        return builder.call(function, arguments)

    return make


@intrinsic  # type: ignore[untyped-decorator]
def square_root(typing: Any, x: Any) -> Any:
    """``√x``."""
    return lanes(lanes), _call("sqrt")


@intrinsic  # type: ignore[untyped-decorator]
def largest(typing: Any, a: Any, b: Any) -> Any:
    """The larger number of each lane."""

    # A comparison and a choice are one instruction; LLVM's maxnum adds two for NaN, which is marked from outside here.
    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return lanes(lanes, lanes), make


@intrinsic  # type: ignore[untyped-decorator]
def smallest(typing: Any, a: Any, b: Any) -> Any:
    """The smaller number of each lane."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), a, b)

    return lanes(lanes, lanes), make


_LOG2_E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts, the first with so few bits that its product with ``n`` is exact (Cody and Waite)."""
_TAYLOR = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)
"""``eʳ`` for ``|r| ≤ ln 2 / 2``: the first term left out is below 6e-9."""


@intrinsic  # type: ignore[untyped-decorator]
def exponential(typing: Any, x: Any) -> Any:
    """``eˣ`` for ``x`` up to 88, to about 2e-7 of its value; below −87 it gives about 1e-38 in place of less.

    ``x = n ln 2 + r``: a polynomial in ``r``, and ``n`` added to the exponent's bits.
    """

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def fma(a: Any, b: Any, c: Any) -> Any:
            # By name, not left to "contract": the error of the polynomial is that of one rounding a step.
            return _call("fma")(context, builder, None, (a, b, c))

        def number(value: float) -> Any:
            return _constant(value, _FLOATS)

        (x,) = arguments
        low = number(-87.0)
        x = builder.select(builder.fcmp_ordered(">", x, low), x, low)
        n = _call("rint")(context, builder, None, (builder.fmul(x, number(_LOG2_E)),))
        r = fma(n, number(-_LN2_LOW), fma(n, number(-_LN2_HIGH), x))
        power = number(_TAYLOR[0])
        for coefficient in _TAYLOR[1:]:
            power = fma(power, r, number(coefficient))
        bits = builder.shl(builder.fptosi(n, _INTS), _constant(23, _INTS))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTS), bits), _FLOATS)

    return lanes(lanes), make


def _register(operation: Callable[..., Any], instruction: str) -> None:
    """``+ - * /`` of two ``Lanes``; with a number on one side it is spread first."""

    class Typed(ConcreteTemplate):  # type: ignore[misc]
        key = operation
        cases = [  # noqa: RUF012
            signature(lanes, lanes, lanes),
            signature(lanes, types.float32, lanes),
            signature(lanes, lanes, types.float32),
        ]

    infer_global(operation)(Typed)

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = [
            value if kind == lanes else _splat(builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        return getattr(builder, instruction)(*both, flags=_FLAGS)

    for pair in ((lanes, lanes), (types.float32, lanes), (lanes, types.float32)):
        lower_builtin(operation, *pair)(make)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register(_operation, _instruction)
