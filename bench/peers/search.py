#!/usr/bin/env python3
"""Our search beside FAISS IndexBinaryFlat and usearch exact, on the same codes and in turns.

    .venv/bin/python bench/peers/search.py PROGRAM [--rows 1000000 10000000] [--kinds uniform clustered]
        [--bits 64 128 256] [--k 1 10 100] [--threads 1] [--rounds 3] [--page docs/performance.md]

Our side runs in its own process, PROGRAM (what `cargo bench -p twinbit-kernels --bench search --no-run`
names), which writes the codes and then waits for orders; each round gives every engine and the machine's limits their
turn, A B C A B C. A table for each kind, number of rows and number of threads is printed, and with
--page replaces the one of that page with the same name, so that a long run may be done in pieces. Figures
are medians over the rounds. The sums of all distances found must agree before anything is printed.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

# With more threads than quiet cores, OpenMP's spinning at barriers would measure itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy
from usearch.index import MetricKind, search as usearch_search

# Queries asked one by one, and in a batch; those of a peer are as many as it answers in a few seconds.
SINGLE, BATCH = 10, 1000
FAISS_BATCH, USEARCH_SINGLE, USEARCH_BATCH = 64, 1, 4
# usearch takes seconds a query: it has one turn, with this k only.
USEARCH_K = 10
# Beyond this many rows only our search and the limits are measured, with a shorter batch.
PEER_ROWS, FAR_BATCH = 10_000_000, 256


class Ours:
    """The process that searches with twinbit."""

    def __init__(self, program, folder, kind, bits, rows):
        self.process = subprocess.Popen(
            [program, "peers", folder, kind, str(bits), str(rows)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.read()

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


class Figures:
    """Seconds a query by the name of what was measured, and the answers by which engines are compared."""

    def __init__(self):
        self.seconds, self.sums = {}, {}

    def add(self, name, count, seconds, distances):
        """Seconds of calls that answered `count` queries in all."""
        share = len(seconds) / count
        self.seconds.setdefault(name, []).extend(second * share for second in seconds)
        self.sums.setdefault(count, {})[name] = distances

    def check(self, what, ours):
        """Stop where two engines differ; `ours` answers queries that only a peer was asked."""
        for count, found in self.sums.items():
            found.setdefault("ours", ours(count))
            if len(set(found.values())) > 1:
                raise SystemExit(f"{what}: the answers to {count} queries differ: {found}")

    def median(self, name):
        return statistics.median(self.seconds[name]) if name in self.seconds else None


def ask_peer(figures, name, find, queries, one_by_one):
    seconds, distances = [], 0
    for part in ([queries[row:row + 1] for row in range(len(queries))] if one_by_one else [queries]):
        start = time.perf_counter()
        found = find(part)
        seconds.append(time.perf_counter() - start)
        distances += int(numpy.asarray(found, dtype=numpy.int64).sum())
    figures.add(name, len(queries), seconds, distances)


def measure(ours, base, queries, bits, rows, k, threads, rounds):
    """The figures of one row of a table."""
    figures, limits = Figures(), []
    batch = BATCH if rows <= PEER_ROWS else FAR_BATCH
    faiss.omp_set_num_threads(threads)
    flat = faiss.IndexBinaryFlat(bits)
    if base is not None:
        flat.add(base)

    def by_usearch(part):
        return usearch_search(
            base, part, k, MetricKind.Hamming, exact=True, threads=threads, dtype="b1").distances

    for turn in range(rounds):
        limits.append(ours.order("limit", threads))
        for name, order, count in [("scan", "single", SINGLE), ("index", "index", SINGLE), ("batch", "batch", batch)]:
            answer = ours.order(order, k, count, threads)
            figures.add(name, count, answer["seconds"], answer["distances"])
        if base is None:
            continue
        ask_peer(figures, "FAISS", lambda part: flat.search(part, k)[0], queries[:SINGLE], True)
        ask_peer(figures, "FAISS batch", lambda part: flat.search(part, k)[0], queries[:FAISS_BATCH], False)
        if k == USEARCH_K and turn == 0:
            ask_peer(figures, "usearch", by_usearch, queries[:USEARCH_SINGLE], True)
            ask_peer(figures, "usearch batch", by_usearch, queries[:USEARCH_BATCH], False)
    what = f"{bits} bits, {rows} rows, k = {k}"
    figures.check(what, lambda count: ours.order("batch", k, count, threads)["distances"])
    limit = {name: statistics.median(limit[name] for limit in limits) for name in limits[0]}
    return figures, limit


HEAD = """\
| bits | k | one query: scan | of reading | with index | FAISS | usearch | batch: a query | of the limit | FAISS | usearch |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def line(bits, rows, k, figures, limit):
    """A row of a table; peers with what they take as a multiple of our scan."""
    def time_of(name):
        seconds = figures.median(name)
        if seconds is None:
            return ""
        return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"

    def beside(name, ours):
        seconds = figures.median(name)
        return "" if seconds is None else f"{time_of(name)} ({seconds / figures.median(ours):.3g}x)"

    scan, batch = figures.median("scan"), figures.median("batch")
    reading = rows * bits / 8 / limit["read"] / scan
    comparing = rows / limit["comparisons"] / batch
    return (
        f"| {bits} | {k} | {time_of('scan')} | {reading:.0%} | {time_of('index')} | {beside('FAISS', 'scan')} "
        f"| {beside('usearch', 'scan')} | {time_of('batch')} | {comparing:.0%} "
        f"| {beside('FAISS batch', 'batch')} | {beside('usearch batch', 'batch')} |\n"
    ).replace("%", " %")


def put(page, name, text):
    """Replace what stands between the markers of this name in the page."""
    page = pathlib.Path(page)
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.read_text().partition(first)
    _, ended, after = rest.partition(last)
    if not found or not ended:
        raise SystemExit(f"{page} has no lines {first.strip()} and {last.strip()}")
    page.write_text(before + first + text + last + after)


def commit():
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def table(asked, kind, rows, threads):
    lines = []
    for bits in asked.bits:
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(asked.program, folder, kind, bits, rows)
            base, queries = None, None
            if rows <= PEER_ROWS:
                base = numpy.fromfile(f"{folder}/base.bin", numpy.uint8).reshape(-1, bits // 8)
                queries = numpy.fromfile(f"{folder}/queries.bin", numpy.uint8).reshape(-1, bits // 8)
        for k in asked.k:
            figures, limit = measure(ours, base, queries, bits, rows, k, threads, asked.rounds)
            lines.append(line(bits, rows, k, figures, limit))
            print(lines[-1], end="", flush=True)
        ours.close()
    day = datetime.datetime.now(datetime.timezone.utc).date()
    plural = "" if threads == 1 else "s"
    name = f"{kind}, {rows:,} codes, {threads} thread{plural}"
    text = f"{name[0].upper()}{name[1:]} ({day}, commit {commit()}, {asked.rounds} rounds):\n\n{HEAD}{''.join(lines)}"
    print(f"\n{text}", flush=True)
    if asked.page:
        put(asked.page, f"peers: {name}", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="the bench of the search")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--kinds", nargs="+", default=["uniform", "clustered"])
    parser.add_argument("--k", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", help="a page with a place for each table")
    asked = parser.parse_args()
    for rows in asked.rows:
        for kind in asked.kinds:
            for threads in asked.threads:
                table(asked, kind, rows, threads)


if __name__ == "__main__":
    main()
