#!/usr/bin/env python3
"""Training steps and encoding of twinbit and of PyTorch on the CPU, in turns, at the same shapes.

train.py RUST_BENCH [--hidden 1024 8192] [--steps N] [--rounds N] [--threads N]

RUST_BENCH is the program of `cargo bench --bench train_step`. Shapes are those of MIRFLICKR-25K: images
1280-H-H-128, tags 1386-H-128 (five ones a row), batch 256, 4,096 negatives of 10,000 bank rows. PyTorch runs
three ways: "gathering" copies batch x 4,097 bank rows a step, as the published code does; "dense" multiplies
the batch with the whole sign bank and picks the logits; both update with torch.optim.Adam as it comes.
"dense, fused Adam" asks for the fused optimizer. Each round runs every engine once, in a process of its own.

train.py card [DEVICE [HIDDEN PAIRS]]

The same steps of PyTorch alone on a card, at the paper's size (4096-8192-8192-128 and 1386-8192-128, 18,015
pairs), in float32, TF32 and bfloat16 (autocast), as JSON; `kernels/gpu.sh bench` runs it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

PAIRS, BATCH, NEGATIVES, BITS = 10_000, 256, 4_096, 128
IMAGE, TEXT, TAGS = 1280, 1386, 5
ALPHA, MARGIN, SHIFT, TAU, DELTA = 0.7, 0.2, 0.1, 0.9, 0.4
WAYS = {
    "gathering": "PyTorch, gathering (the published code's way)",
    "dense": "PyTorch, dense",
    "dense-fused": "PyTorch, dense, fused Adam",
}


def network(torch, widths):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    layers[-1] = torch.nn.Tanh()
    return torch.nn.Sequential(*layers)


def direction(torch, values):
    return values / values.norm(dim=1, keepdim=True)


def contrastive(torch, outputs, logits):
    """L_c: minus the logarithm of the softmax's first entry, both sides."""
    own = torch.zeros(BATCH, dtype=torch.long, device=outputs[0].device)
    return sum(torch.nn.functional.cross_entropy(logits(output) / TAU, own) for output in outputs)


def ranking(torch, image, text):
    """L_r, rows and columns."""
    total = 0
    for similarities in (image @ text.T, text @ image.T):
        own = similarities.diag()[:, None]
        shifted = torch.where(similarities >= own - MARGIN, similarities, similarities - SHIFT)
        total = total + (torch.logsumexp(shifted, 1) - own[:, 0] + MARGIN).mean()
    return total


def measure(way, hidden, steps, threads, image_width=IMAGE, pair_count=PAIRS, device="cpu", precision="float32"):
    """Median milliseconds of the warm-up's step, of one with the bank, and of encoding a row."""
    import contextlib

    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    torch.set_default_device(device)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    rounding = contextlib.nullcontext
    if precision == "bfloat16":
        rounding = lambda: torch.autocast(device, dtype=torch.bfloat16)
    networks = [network(torch, [image_width, hidden, hidden, BITS]), network(torch, [TEXT, hidden, BITS])]
    parameters = [parameter for net in networks for parameter in net.parameters()]
    fused = {"fused": True} if way == "dense-fused" else {}
    optimizer = torch.optim.Adam(parameters, lr=1e-4, weight_decay=1e-6, **fused)
    bank = direction(torch, torch.randn(pair_count, BITS))
    image = torch.rand(BATCH, image_width)
    text = torch.zeros(BATCH, TEXT).scatter_(1, torch.randint(TEXT, (BATCH, TAGS)), 1.0)
    pairs = torch.arange(BATCH)

    def step(warm_up):
        keys = torch.cat([pairs[:, None], torch.randint(pair_count, (BATCH, NEGATIVES))], 1)
        with rounding():
            outputs = [net(rows) for net, rows in zip(networks, (image, text))]
        outputs = [direction(torch, output.float()) for output in outputs]
        mean = (outputs[0] + outputs[1]).detach() / 2
        if warm_up:
            signs = mean.sign() / BITS**0.5
            labels = pairs
            loss = sum(
                torch.nn.functional.cross_entropy(output @ signs.T / TAU, labels) for output in outputs
            )
        elif way == "gathering":
            rows = bank.index_select(0, keys.view(-1)).sign() / BITS**0.5
            rows = rows.view(BATCH, NEGATIVES + 1, BITS)
            loss = contrastive(torch, outputs, lambda output: torch.bmm(rows, output[:, :, None])[:, :, 0])
        else:
            signs = bank.sign() / BITS**0.5
            loss = contrastive(torch, outputs, lambda output: (output @ signs.T).gather(1, keys))
        loss = ALPHA * loss + (1 - ALPHA) * ranking(torch, *outputs)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        keep = 0.0 if warm_up else DELTA
        bank[pairs] = direction(torch, keep * bank[pairs] + (1 - keep) * direction(torch, mean))

    def wait():
        if device != "cpu":
            torch.cuda.synchronize()

    def median(call, rounds):
        for _ in range(1 if device == "cpu" else 10):
            call()
        wait()
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            call()
            wait()
            times.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(times)

    found = {"warm_up": median(lambda: step(True), steps), "bank": median(lambda: step(False), steps)}
    if way == "dense":
        with torch.inference_mode(), rounding():
            for name, net, rows in (("image", networks[0], image), ("text", networks[1], text)):
                rows = rows.repeat(8, 1)
                encode = lambda: [direction(torch, net(block)) >= 0 for block in rows.split(BATCH)]
                found[f"encode_{name}"] = median(encode, min(steps, 5)) / len(rows)
    return found


def measure_card(device="cuda", hidden="8192", pairs="18015"):
    """One JSON object a line: a way and a precision. One that fails is told, and the next one comes."""
    failed = False
    for precision in ("float32", "tf32", "bfloat16"):
        for way in WAYS:
            named = {"engine": WAYS[way], "precision": precision}
            try:
                found = measure(way, int(hidden), 50, 2, 4096, int(pairs), device, precision)
            except Exception as error:
                failed = True
                print(json.dumps({**named, "error": str(error)}), flush=True)
                continue
            found = {name: round(value, 4) for name, value in found.items()}
            print(json.dumps({**named, **found}), flush=True)
    sys.exit(failed)


def last_line(command):
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["child"]:
        way, hidden, steps, threads = sys.argv[2:]
        print(json.dumps(measure(way, int(hidden), int(steps), int(threads))))
        return
    if sys.argv[1:2] == ["card"]:
        measure_card(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    steps, threads = str(arguments.steps), str(arguments.threads)
    print("| hidden | engine | warm-up step, ms | step with the bank, ms | twinbit's share | encode an image / a text, us |")
    print("|---|---|---|---|---|---|")
    for hidden in map(str, arguments.hidden):
        ours = ["env", f"RAYON_NUM_THREADS={threads}", arguments.program, "--hidden", hidden, "--steps", steps]
        commands = {"twinbit": ours}
        for way in WAYS:
            commands[way] = [sys.executable, __file__, "child", way, hidden, steps, threads]
        rounds = {engine: [] for engine in commands}
        for _ in range(arguments.rounds):
            for engine, command in commands.items():
                rounds[engine].append(last_line(command))
        for engine, found in rounds.items():
            middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
            share = statistics.median(
                own["bank"] / other["bank"] for own, other in zip(rounds["twinbit"], found)
            )
            encode = "-"
            if "encode_image" in middle:
                encode = f"{middle['encode_image'] * 1e3:.0f} / {middle['encode_text'] * 1e3:.0f}"
            print(
                f"| {hidden} | {WAYS.get(engine, engine)} | {middle['warm_up']:.1f} | {middle['bank']:.1f} "
                f"| {share:.2f} | {encode} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
