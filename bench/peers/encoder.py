#!/usr/bin/env python3
"""EfficientNet-Lite0 of twinbit and of ONNX Runtime on the CPU, in turns: same weights, pictures and threads.

encoder.py RUST_BENCH [--pictures N] [--rounds N] [--threads N ...]

RUST_BENCH is the program of `cargo bench --bench image_encoder`. The graph is made here from the weights that
come with twinbit (float16, widened to float32 for both). ONNX Runtime gets pixels that are numbers already, in
calls of one picture and of sixteen; twinbit gets bytes. Each round runs every engine once, in a process of its
own; all features are compared.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

WEIGHTS = pathlib.Path(__file__).parents[2] / "hashing/weights/efficientnet_lite0_f16.safetensors"
SIDE, BATCH = 224, 16
# hidden (0: no expansion), output, kernel, stride of each block
BLOCKS = [
    (0, 16, 3, 1), (96, 24, 3, 2), (144, 24, 3, 1), (144, 40, 5, 2), (240, 40, 5, 1), (240, 80, 3, 2),
    (480, 80, 3, 1), (480, 80, 3, 1), (480, 112, 5, 1), (672, 112, 5, 1), (672, 112, 5, 1), (672, 192, 5, 2),
    (1152, 192, 5, 1), (1152, 192, 5, 1), (1152, 192, 5, 1), (1152, 320, 3, 1),
]  # fmt: skip


def read_weights():
    """The tensors of a safetensors file, as float32."""
    data = WEIGHTS.read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            kind = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
            tensors[name] = np.frombuffer(data[start:end], kind).reshape(entry["shape"]).astype(np.float32)
    return tensors


def graph():
    """The network up to its pooled features, as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    tensors = read_weights()
    nodes, constants = [], [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("six", 6))]

    def convolve(values, layer, kernel, stride, side, groups=1, relu6=True):
        for part in ("weight", "bias"):
            constants.append(numpy_helper.from_array(tensors[f"{layer}.{part}"], f"{layer}.{part}"))
        smaller = -(-side // stride)
        padding = max((smaller - 1) * stride + kernel - side, 0)
        before = padding // 2
        pads = [before, before, padding - before, padding - before]
        nodes.append(
            helper.make_node(
                "Conv", [values, f"{layer}.weight", f"{layer}.bias"], [layer],
                kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads, group=groups,
            )  # fmt: skip
        )
        if relu6:
            nodes.append(helper.make_node("Clip", [layer, "zero", "six"], [f"{layer}.clipped"]))
            layer = f"{layer}.clipped"
        return layer, smaller

    values, side = convolve("pixels", "stem", 3, 2, SIDE)
    channels = 32
    for number, (hidden, output, kernel, stride) in enumerate(BLOCKS):
        block, before = f"block{number}", values
        if hidden:
            values, side = convolve(values, f"{block}.expand", 1, 1, side)
        groups = hidden or channels
        values, side = convolve(values, f"{block}.depthwise", kernel, stride, side, groups=groups)
        values, side = convolve(values, f"{block}.project", 1, 1, side, relu6=False)
        if stride == 1 and output == channels:
            nodes.append(helper.make_node("Add", [values, before], [f"{block}.sum"]))
            values = f"{block}.sum"
        channels = output
    values, side = convolve(values, "head", 1, 1, side)
    nodes.append(helper.make_node("GlobalAveragePool", [values], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1280])
    whole = helper.make_graph(nodes, "EfficientNet-Lite0", [pixels], [features], constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def pictures(path):
    return np.fromfile(path, np.uint8).reshape(-1, SIDE, SIDE, 3)


def measure(pixels, rounds, threads):
    """Milliseconds a picture, in calls of one and of sixteen, and the features."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(graph(), options, providers=["CPUExecutionProvider"])
    values = (pictures(pixels).astype(np.float32) - 127) / 128
    values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def encode(batch):
        blocks = [values[start : start + batch] for start in range(0, len(values), batch)]
        return np.concatenate([session.run(None, {"pixels": block})[0] for block in blocks])

    found = {}
    for name, batch in (("together", BATCH), ("alone", 1)):
        encode(batch)
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            encode(batch)
            times.append(time.perf_counter() - begin)
        found[name] = statistics.median(times) * 1e3 / len(values)
    return found | {"features": encode(1).ravel().tolist()}


def last_line(command, **environment):
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | environment
    )
    return json.loads(run.stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["child"]:
        pixels, rounds, threads = sys.argv[2:]
        print(json.dumps(measure(pixels, int(rounds), int(threads))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--pictures", type=int, default=2 * BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pixels = f"{folder}/pixels"
        noise = np.random.default_rng(1).integers(0, 256, (arguments.pictures, 8, 8, 3), np.uint8)
        noise.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2).tofile(pixels)
        print("| threads | engine | one by one, ms a picture | together, ms a picture |")
        print("|---|---|---|---|")
        for threads in map(str, arguments.threads):
            found = {"twinbit": [], "ONNX Runtime": []}
            for _ in range(arguments.rounds):
                program = [arguments.program, "--weights", WEIGHTS, "--pixels", pixels]
                found["twinbit"].append(last_line(program, RAYON_NUM_THREADS=threads))
                child = [sys.executable, __file__, "child", pixels, "5", threads]
                found["ONNX Runtime"].append(last_line(child))
            features = [np.array(runs[0].pop("features")) for runs in found.values()]
            gap = np.abs(features[0] - features[1]).max() / np.abs(features[1]).max()
            middle = {}
            for engine, runs in found.items():
                middle[engine] = {way: statistics.median(run[way] for run in runs) for way in ("alone", "together")}
                print(f"| {threads} | {engine} | {middle[engine]['alone']:.2f} | {middle[engine]['together']:.2f} |")
            best = [min(times.values()) for times in middle.values()]
            print(f"{threads} threads: twinbit takes {best[0] / best[1]:.2f} of ONNX Runtime's time, each")
            print(f"in its better way; largest difference of a feature {gap:.1e} of the largest one", flush=True)


if __name__ == "__main__":
    main()
