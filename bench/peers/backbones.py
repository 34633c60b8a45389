#!/usr/bin/env python3
"""Image backbones of twinbit and of PyTorch on the CPU, in turns: same random weights, pictures and threads.

backbones.py RUST_BENCH [--networks NAME ...] [--pictures N] [--rounds N] [--threads N ...]

RUST_BENCH is the program of `cargo bench --bench image_encoder`. PyTorch gets prepared numbers, in calls of one
picture and of sixteen, in either memory format; twinbit gets bytes and prepares them. Each round runs every engine
once, in a process of its own; all features are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

BATCH = 16
NETWORKS = ["resnet18", "resnet50", "vgg16", "clip"]


def network(name):
    """The network with random weights, to the features that twinbit takes."""
    import torch
    from torchvision import models
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(1)
    if name == "clip":
        return CLIPVisionModelWithProjection(CLIPVisionConfig()).eval()
    model = getattr(models, name)()
    if name.startswith("vgg"):
        model.classifier = model.classifier[:5]
    else:
        model.fc = torch.nn.Identity()
    return model.eval()


def side(name):
    """The side of the pictures, so that neither program resizes them."""
    return 224 if name == "clip" else 256


def save(name, folder):
    from safetensors.torch import save_file

    state = network(name).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, f"{folder}/model.safetensors")
    if name == "clip":
        with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
            file.write('{"model_type": "clip_vision_model"}')


def measure(name, pixels, rounds, threads):
    """Milliseconds a picture, in calls of one and of sixteen, and the features."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    values = np.fromfile(pixels, np.uint8).reshape(-1, side(name), side(name), 3)
    cut = (side(name) - 224) // 2
    values = values[:, cut : cut + 224, cut : cut + 224].astype(np.float32) / 255
    if name == "clip":
        mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    else:
        mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    values = ((values - np.float32(mean)) / np.float32(deviation)).transpose(0, 3, 1, 2)
    values = torch.from_numpy(np.ascontiguousarray(values))
    found = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        model = network(name).to(memory_format=layout)
        values = values.contiguous(memory_format=layout)

        def encode(batch):
            blocks = [model(block) for block in values.split(batch)]
            return torch.cat([block.image_embeds if name == "clip" else block for block in blocks])

        for way, batch in (("together", BATCH), ("alone", 1)):
            features = encode(batch)
            times = []
            for _ in range(rounds):
                begin = time.perf_counter()
                encode(batch)
                times.append(time.perf_counter() - begin)
            each = statistics.median(times) * 1e3 / len(values)
            found[way] = min(each, found.get(way, each))
    return found | {"features": features.numpy().ravel().tolist()}


def last_line(command, **environment):
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return json.loads(run.stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["child"]:
        name, pixels, rounds, threads = sys.argv[2:]
        print(json.dumps(measure(name, pixels, int(rounds), int(threads))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--pictures", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    ways = "one by one, ms a picture | in calls of their own on all threads | together, ms a picture"
    print(f"| network | engine | {ways} | pictures a second |")
    print("|---|---|---|---|---|---|")
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            save(name, folder)
            pixels = f"{folder}/pixels"
            noise = np.random.default_rng(1).integers(0, 256, (arguments.pictures, 16, 16, 3), np.uint8)
            noise.repeat(side(name) // 16, 1).repeat(side(name) // 16, 2).tofile(pixels)
            found = {"twinbit": [], "PyTorch": []}
            for _ in range(arguments.rounds):
                program = [arguments.program, "--folder", folder, "--side", str(side(name)), "--pixels", pixels]
                program += ["--rounds", "3"]
                found["twinbit"].append(last_line(program, RAYON_NUM_THREADS=str(arguments.threads)))
                child = [sys.executable, __file__, "child", name, pixels, "3", str(arguments.threads)]
                found["PyTorch"].append(last_line(child))
            features = [np.array(runs[0].pop("features")) for runs in found.values()]
            gap = np.abs(features[0] - features[1]).max() / np.abs(features[1]).max()
            best = {}
            for engine, runs in found.items():
                alone, together = (statistics.median(run[way] for run in runs) for way in ("alone", "together"))
                best[engine] = min(alone, together)
                apart = [run["apart"] for run in runs if "apart" in run]
                apart = f"{statistics.median(apart):.1f}" if apart else ""
                print(f"| {name} | {engine} | {alone:.1f} | {apart} | {together:.1f} | {1e3 / best[engine]:.1f} |")
            print(f"{name}: twinbit takes {best['twinbit'] / best['PyTorch']:.2f} of PyTorch's time, each in its")
            print(f"better way; largest difference of a feature {gap:.1e} of the largest one", flush=True)


if __name__ == "__main__":
    main()
