"""Writes files with the real TensorFlow: `python -m tests.parity.write_tensorflow_files FOLDER`.

In a process of its own, since importing TensorFlow takes seconds and much memory. Beside the files stands what
TensorFlow itself reads from them: arrays in `<name>.npz` (under the numbers of `<name>.json`), and the rest in JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.python.framework import convert_to_constants

v1 = tf.compat.v1
RNG = np.random.default_rng(0)
TYPES = "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()


def random_values(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = tf.as_dtype(kind).as_numpy_dtype
    if tf.as_dtype(kind).is_floating:
        return RNG.normal(size=shape).astype(dtype)
    if kind == "bool":
        return RNG.integers(0, 2, shape).astype(bool)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def keep(path: Path, read: Mapping[str, Any], **facts: Any) -> None:
    """Write what TensorFlow reads; bfloat16 as float32, which NumPy can store."""
    arrays = {name: np.asarray(values) for name, values in read.items()}
    arrays = {n: a.astype(np.float32) if a.dtype == tf.bfloat16.as_numpy_dtype else a for n, a in arrays.items()}
    np.savez(path.with_suffix(".npz"), *arrays.values())
    path.with_suffix(".json").write_text(json.dumps({"names": list(arrays), **facts}))


# Frozen graphs


def write_graphs(folder: Path) -> None:
    with v1.Graph().as_default() as graph, v1.Session() as session:
        for kind in TYPES:
            for shape in ((), (1,), (3, 5), (0, 2)):
                v1.constant(random_values(kind, shape), name="_".join(map(str, (kind, *shape))))
            v1.constant(random_values(kind, (1,))[0], kind, (4, 3), f"{kind}_filled")
        v1.constant(["text", "more"], name="text")
        v1.constant(np.zeros((2, 3), np.float32), name="zeros")
        for name, values in compressed().items():
            value = v1.AttrValue(tensor=values)
            kind = v1.AttrValue(type=values.dtype)
            graph.create_op("Const", [], [tf.as_dtype(values.dtype)], attrs={"value": value, "dtype": kind}, name=name)
        names = [op.name for op in graph.get_operations() if op.type == "Const" and op.name != "text"]
        (folder / "constants.pb").write_bytes(graph.as_graph_def().SerializeToString())
        keep(folder / "constants", {name: session.run(f"{name}:0") for name in names}, nodes=op_types(graph))
    write_frozen(folder)


def compressed() -> dict[str, Any]:
    """Return tensors as TensorFlow's optimizer leaves them: without the repeats at their end."""
    wide = tf.make_tensor_proto([1.5, -2.0], shape=(2, 3), dtype=tf.float32)
    wide.ClearField("tensor_content")
    wide.float_val[:] = [1.5, -2.0]
    half = tf.make_tensor_proto(0.0, shape=(5,), dtype=tf.float16)
    half.half_val[:] = [int(np.float16(value).view(np.uint16)) for value in (0.1, -7.0)]
    empty = tf.make_tensor_proto(0, shape=(2, 2), dtype=tf.int32)
    empty.ClearField("int_val")
    negative = tf.make_tensor_proto(0, shape=(3,), dtype=tf.int8)
    negative.int_val[:] = [5, -128]
    return {"floats_cut": wide, "halves_cut": half, "zeros_cut": empty, "int8_cut": negative}


def op_types(graph: Any) -> dict[str, list[Any]]:
    return {op.name: [op.type, [tensor.name for tensor in op.inputs]] for op in graph.get_operations()}


def write_frozen(folder: Path) -> None:
    """Write one network's variables as a frozen graph of version 1 and of version 2."""
    with v1.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, (1, 7, 5, 3), "image")
        weights = v1.get_variable(
            "Conv/weights", initializer=random_values("float32", (3, 3, 3, 4)), use_resource=False
        )
        out = v1.nn.bias_add(
            v1.nn.conv2d(image, weights, 2, "SAME"),
            v1.get_variable("Conv/biases", initializer=random_values("float32", (4,)), use_resource=True),
            name="out",
        )
        session.run(v1.global_variables_initializer())
        keep(folder / "frozen", {v.op.name: session.run(v) for v in v1.global_variables()})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [out.op.name])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
        (folder / "not_frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())
    module = small_module()
    function = tf.function(lambda x: module.layer.kernel * x + module.layer.bias)
    concrete = function.get_concrete_function(tf.TensorSpec((), tf.float32))
    frozen_2 = convert_to_constants.convert_variables_to_constants_v2(concrete)
    (folder / "frozen_2.pb").write_bytes(frozen_2.graph.as_graph_def().SerializeToString())
    keep(folder / "frozen_2", {"kernel": module.layer.kernel, "bias": module.layer.bias})


# Checkpoints


def small_module() -> Any:
    module = tf.Module()
    module.layer = tf.Module()
    module.layer.kernel = tf.Variable(random_values("float32", (3, 2, 4)), name="layer/kernel")
    module.layer.bias = tf.Variable(random_values("float32", (4,)), name="layer/bias")
    module.kinds = [tf.Variable(random_values(kind, (2, 3)), name=kind) for kind in TYPES]
    module.scalar = tf.Variable(3.5)
    return module


def keep_checkpoint(path: Path, prefix: str) -> None:
    reader = tf.train.load_checkpoint(prefix)
    types = reader.get_variable_to_dtype_map()
    keep(path, {name: reader.get_tensor(name) for name, dtype in sorted(types.items()) if dtype != tf.string})


def write_checkpoints(folder: Path) -> None:
    module = small_module()
    keep_checkpoint(folder / "objects", tf.train.Checkpoint(model=module).save(folder / "objects"))
    tf.saved_model.save(module, folder / "saved_model")
    keep_checkpoint(folder / "saved_model", str(folder / "saved_model" / "variables" / "variables"))
    write_trained(folder)
    write_partitioned(folder)


def write_trained(folder: Path) -> None:
    """Write a training's checkpoint of version 1 code: averages, optimizer slots, three data files; and older forms."""
    with v1.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"CPU": 3})) as session:
        variables = []
        for i in range(40):
            with tf.device(f"/cpu:{i % 3}"):
                initial = random_values("float32", (i % 5 + 1, 3))
                variables.append(v1.get_variable(f"Layer_{i}/weights", initializer=initial, use_resource=False))
        step = v1.train.get_or_create_global_step()
        loss = v1.add_n([v1.reduce_sum(variable**2) for variable in variables])
        train = v1.train.RMSPropOptimizer(0.01, momentum=0.9).minimize(loss, step)
        average = v1.train.ExponentialMovingAverage(0.5, step)
        with v1.control_dependencies([train]):
            train = average.apply(variables)
        session.run(v1.variables_initializer(variables))  # the averages begin at their values
        session.run(v1.global_variables_initializer())
        for _ in range(3):
            session.run(train)
        prefix = v1.train.Saver(sharded=True).save(session, str(folder / "trained.ckpt"), step)
        keep_checkpoint(folder / "trained", prefix)
        averages = {variable.op.name: session.run(average.average(variable)) for variable in variables}
        keep(folder / "published", averages)
        v1.train.Saver(write_version=v1.train.SaverDef.V1).save(session, str(folder / "version_1.ckpt"))
        plain = v1.train.Saver({variable.op.name: variable for variable in variables})
        builder = v1.saved_model.Builder(str(folder / "saved_model_1"))
        builder.add_meta_graph_and_variables(session, ["serve"], saver=plain)
        builder.save()
        keep(folder / "saved_model_1", {variable.op.name: session.run(variable) for variable in variables})


def write_partitioned(folder: Path) -> None:
    with v1.Graph().as_default(), v1.Session() as session:
        partitioner = v1.fixed_size_partitioner(2)
        v1.get_variable("divided", (6, 2), partitioner=partitioner, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "partitioned.ckpt"))


# TFLite


def network() -> Any:
    """Return a network with each kind of convolution, on pictures that are wider than high."""
    conv, depthwise = random_values("float32", (3, 3, 3, 8)), random_values("float32", (3, 3, 8, 2))
    wide, dilated = random_values("float32", (1, 1, 16, 80)), random_values("float32", (3, 3, 80, 4))
    biases = [random_values("float32", (n,)) for n in (8, 16, 80, 4)]

    @tf.function(input_signature=[tf.TensorSpec((1, 13, 18, 3), tf.float32)])
    def run(x: Any) -> Any:
        x = tf.nn.relu6(tf.nn.conv2d(x, conv, (1, 2, 2, 1), "SAME") * 0.5 + biases[0])
        x = tf.nn.relu(tf.nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME") + biases[1])
        x = tf.nn.conv2d(x, wide, 1, "VALID") + biases[2]
        x = x * tf.nn.relu6(x + 3) * np.float32(1 / 6)
        return tf.nn.conv2d(x, dilated, 1, "VALID", dilations=(1, 2)) + biases[3]

    return run


def write_tflite(folder: Path) -> None:
    function = network().get_concrete_function()
    int8 = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
    settings: dict[str, dict[str, Any]] = {
        "float": {},
        "dynamic": {"optimizations": [tf.lite.Optimize.DEFAULT]},
        "float16": {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "target_spec": tf.lite.TargetSpec(supported_types=[tf.float16]),
        },
        "int8": {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "target_spec": tf.lite.TargetSpec(supported_ops=[int8]),
            "representative_dataset": lambda: ([random_values("float32", (1, 13, 18, 3))] for _ in range(4)),
        },
    }
    settings["per_tensor"] = {**settings["int8"], "_experimental_disable_per_channel": True}
    for name, setting in settings.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        for key, value in setting.items():
            setattr(converter, key, value)
        content = converter.convert()
        (folder / f"{name}.tflite").write_bytes(content)
        keep_tflite(folder / name, content)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    types = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    (folder / "schema.json").write_text(json.dumps({"operators": names, "types": types}))


def keep_tflite(path: Path, content: bytes) -> None:
    """Keep what TensorFlow's interpreter and its generated reader say of a model."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    interpreter = tf.lite.Interpreter(
        model_content=content, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    constants = [i for i, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].data is not None]
    quantised = {}
    for i in constants:
        parameters = details[i]["quantization_parameters"]
        quantised[str(i)] = [
            [float(scale) for scale in parameters["scales"]],
            [int(point) for point in parameters["zero_points"]],
            int(parameters["quantized_dimension"]),
        ]
    operators = [
        [op["op_name"], op["inputs"].tolist(), op["outputs"].tolist(), options(graph.operators[i])]
        for i, op in enumerate(interpreter._get_ops_details())
        if i < len(graph.operators)
    ]
    tensors = [[t["name"], t["shape"].tolist(), np.dtype(t["dtype"]).name] for _, t in sorted(details.items())]
    keep(
        path,
        {str(i): interpreter.get_tensor(i) for i in constants},
        quantised=quantised,
        operators=operators,
        tensors=tensors[: len(graph.tensors)],
        inputs=[int(i) for i in graph.inputs],
        outputs=[int(i) for i in graph.outputs],
    )


def options(operator: Any) -> list[Any] | None:
    """Return padding, strides, dilations (height first), activation and depth multiplier of a convolution."""
    o = operator.builtinOptions
    if not isinstance(o, (schema.Conv2DOptionsT, schema.DepthwiseConv2DOptionsT)):
        return None
    multiplier = getattr(o, "depthMultiplier", 0)
    strides, dilations = [o.strideH, o.strideW], [o.dilationHFactor, o.dilationWFactor]
    return [o.padding, strides, dilations, o.fusedActivationFunction, multiplier]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_graphs(target)
    write_checkpoints(target)
    write_tflite(target)
