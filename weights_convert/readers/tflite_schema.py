"""TFLite's schema as far as it is read: field numbers of its tables, and codes of element types and operators.

Source: `tensorflow/compiler/mlir/lite/schema/schema.fbs` (version 3), TensorFlow 2.21.
"""

from __future__ import annotations

from enum import IntEnum

IDENTIFIER = b"TFL3"


class Model(IntEnum):
    """The root table."""

    VERSION = 0
    OPERATOR_CODES = 1
    SUBGRAPHS = 2
    BUFFERS = 4


class SubGraph(IntEnum):
    """A network: operators in the order in which they run."""

    TENSORS = 0
    INPUTS = 1
    OUTPUTS = 2
    OPERATORS = 3


class Tensor(IntEnum):
    """A tensor: constant if its buffer has data."""

    SHAPE = 0
    TYPE = 1
    BUFFER = 2
    NAME = 3
    QUANTIZATION = 4
    SPARSITY = 6
    EXTERNAL_BUFFER = 10


class Buffer(IntEnum):
    """A constant's bytes; `OFFSET` is for files over 2 GB, which have them behind the flatbuffer."""

    DATA = 0
    OFFSET = 1


class Quantization(IntEnum):
    """real = scale (stored - zero point), with one of each or one a slice of the dimension."""

    SCALE = 2
    ZERO_POINT = 3
    DIMENSION = 6


class OperatorCode(IntEnum):
    """What an operator is: the larger of the two codes (the old one has 8 bits), or a name of its own."""

    OLD_CODE = 0
    CUSTOM_NAME = 1
    CODE = 3


class Operator(IntEnum):
    """One step: which code, which tensors, and options of the kind that the type says."""

    CODE_INDEX = 0
    INPUTS = 1
    OUTPUTS = 2
    OPTIONS_TYPE = 3
    OPTIONS = 4


class Conv2D(IntEnum):
    """CONV_2D's options."""

    PADDING = 0
    STRIDE_W = 1
    STRIDE_H = 2
    ACTIVATION = 3
    DILATION_W = 4
    DILATION_H = 5


class DepthwiseConv2D(IntEnum):
    """DEPTHWISE_CONV_2D's options."""

    PADDING = 0
    STRIDE_W = 1
    STRIDE_H = 2
    DEPTH_MULTIPLIER = 3
    ACTIVATION = 4
    DILATION_W = 5
    DILATION_H = 6


PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

ELEMENTS = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    18: "bfloat16",
}

CUSTOM = 32
OPERATORS = {  # those of networks for pictures; any other is called BUILTIN_ and its code
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    21: "RELU6",
    22: "RESHAPE",
    23: "RESIZE_BILINEAR",
    25: "SOFTMAX",
    34: "PAD",
    36: "GATHER",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    42: "DIV",
    43: "SQUEEZE",
    45: "STRIDED_SLICE",
    47: "EXP",
    49: "SPLIT",
    53: "CAST",
    55: "MAXIMUM",
    57: "MINIMUM",
    65: "SLICE",
    67: "TRANSPOSE_CONV",
    70: "EXPAND_DIMS",
    77: "SHAPE",
    83: "PACK",
    88: "UNPACK",
    97: "RESIZE_NEAREST_NEIGHBOR",
    98: "LEAKY_RELU",
    114: "QUANTIZE",
    117: "HARD_SWISH",
}
