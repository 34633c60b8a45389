#!/usr/bin/env python3
"""Our search beside FAISS IndexBinaryFlat and usearch exact, on the same codes and in turns.

    .venv/bin/python bench/peers/search.py [--rows 10000000] [--bits 64 128 256] [--threads 1 2]

Our side runs in its own process (`cargo bench -p twinbit-kernels --bench search -- peers ...`), which
writes the codes and then waits for orders; each round gives every engine its turn, A B C A B C. Printed
are medians over the rounds, and what each peer takes as a multiple of ours. The sums of all distances
found must agree before anything is printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

# With more threads than quiet cores, OpenMP's spinning at barriers would measure itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy
from usearch.index import MetricKind, search as usearch_search

QUERIES = 1000


class Ours:
    """The process that searches with twinbit."""

    def __init__(self, folder, kind, bits, rows):
        command = ["cargo", "bench", "--locked", "-q", "-p", "twinbit-kernels", "--bench", "search", "--"]
        self.process = subprocess.Popen(
            command + ["peers", folder, kind, str(bits), str(rows)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.index_seconds = self.read()["index_seconds"]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("our process ended early")
        return json.loads(line)

    def order(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """FAISS or usearch in this process, answering as `Ours` does."""

    def __init__(self, name, find):
        self.name, self.find = name, find

    def run(self, queries, k, threads, one_by_one):
        seconds, distances = [], 0
        parts = [queries[row:row + 1] for row in range(len(queries))] if one_by_one else [queries]
        for part in parts:
            start = time.perf_counter()
            found = self.find(part, k, threads)
            seconds.append(time.perf_counter() - start)
            distances += int(numpy.asarray(found, dtype=numpy.int64).sum())
        return {"seconds": seconds, "distances": distances}


def peers(base, bits):
    flat = faiss.IndexBinaryFlat(bits)
    flat.add(base)

    def by_faiss(queries, k, threads):
        faiss.omp_set_num_threads(threads)
        return flat.search(queries, k)[0]

    def by_usearch(queries, k, threads):
        found = usearch_search(base, queries, k, MetricKind.Hamming, exact=True, threads=threads, dtype="b1")
        return found.distances

    return [Peer("FAISS", by_faiss), Peer("usearch", by_usearch)]


def compare(engines, what, queries, k, threads, rounds, one_by_one):
    """Medians of the seconds a query takes each engine, by name; None where it is too slow to ask."""
    times = {name: [] for name in engines}
    sums = {}
    for _ in range(rounds):
        for name, (run, count) in engines.items():
            answer = run(queries[:count], k, threads, one_by_one)
            times[name] += [seconds / (1 if one_by_one else count) for seconds in answer["seconds"]]
            sums.setdefault(count, {})[name] = answer["distances"]
    for count, found in sums.items():
        if "twinbit" not in found:
            found["twinbit"] = engines["twinbit"][0](queries[:count], k, threads, one_by_one)["distances"]
        if len(set(found.values())) > 1:
            raise SystemExit(f"{what}, k = {k}: the answers to {count} queries differ: {found}")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ours = medians["twinbit"]
    cells = [f"{name} {seconds * 1e3:.3f} ms ({seconds / ours:.1f}x)" for name, seconds in medians.items()]
    print(f"| {what} | k = {k} | {threads} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--kinds", nargs="+", default=["uniform", "clustered"])
    parser.add_argument("--k", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for kind in asked.kinds:
        for bits in asked.bits:
            with tempfile.TemporaryDirectory() as folder:
                measure(asked, folder, kind, bits)


def measure(asked, folder, kind, bits):
    ours = Ours(folder, kind, bits, asked.rows)
    base = numpy.fromfile(f"{folder}/base.bin", numpy.uint8).reshape(-1, bits // 8)
    queries = numpy.fromfile(f"{folder}/queries.bin", numpy.uint8).reshape(-1, bits // 8)[:QUERIES]
    faiss_flat, usearch_exact = peers(base, bits)

    def by(order):
        return lambda queries, k, threads, _: ours.order(order, k, len(queries), threads)

    print(f"\n{kind}, {bits} bits, {asked.rows:,} codes; time a query, and as a multiple of twinbit's scan")
    for threads in asked.threads:
        limit = ours.order("limit", threads)["comparisons"]
        print(f"in-cache limit on {threads} threads: {limit / 1e9:.2f} G comparisons/s")
        for k in asked.k:
            compare({
                "twinbit": (by("single"), 10), "with index": (by("index"), 10),
                "FAISS": (faiss_flat.run, 10), "usearch": (usearch_exact.run, 2),
            }, "one query", queries, k, threads, asked.rounds, True)
            compare({
                "twinbit": (by("batch"), QUERIES), "FAISS": (faiss_flat.run, 64), "usearch": (usearch_exact.run, 4),
            }, "batch", queries, k, threads, asked.rounds, False)
    ours.close()


if __name__ == "__main__":
    main()
