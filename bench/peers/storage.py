#!/usr/bin/env python3
"""The same records into twinbit, RocksDB alone, LanceDB and sqlite-vec, on one machine and one disk.

storage.py RUST_BENCH [--folder F] [--rows N] [--rounds N]

RUST_BENCH is the program of `cargo bench --bench storage`. Each round runs every engine once, in
the same order, each in a process of its own, so that what else the machine does falls on all of
them. A record is a text id, a code of 128 bits and three fields, of which one is indexed; records
are durable in commits of 250,000, and closing the database counts. The table has medians.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROWS_A_COMMIT = 250_000
ENGINES = {
    "twinbit": "twinbit",
    "rocksdb": "RocksDB alone",
    "lancedb": "LanceDB, no index",
    "lancedb-indexed": "LanceDB, BTREE on id and year",
    "sqlite-vec": "sqlite-vec (WAL, synchronous=FULL)",
}


class Records:
    """The records of `data.rs`: SplitMix64 from seed 7, three words a record."""

    def __init__(self, rows):
        import numpy

        self.rows = rows
        with numpy.errstate(over="ignore"):
            word = numpy.arange(1, 3 * rows + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
            word += numpy.uint64(7)
            word = (word ^ (word >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
            word = (word ^ (word >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
            word ^= word >> numpy.uint64(31)
        word = word.reshape(rows, 3)
        self.codes = numpy.ascontiguousarray(word[:, :2]).view(numpy.uint8)
        self.ids = [f"photo-{first:016x}" for first in word[:, 0].tolist()]
        self.years = (1900 + word[:, 2] % numpy.uint64(125)).astype(numpy.int64)
        self.scores = (word[:, 2] >> numpy.uint64(11)).astype(numpy.float64) / float(1 << 53)
        labels = (self.years * 31 + numpy.arange(rows)) % 1000
        self.labels = [f"label {label}" for label in labels.tolist()]

    def commits(self):
        """The ranges of rows that are committed together."""
        for start in range(0, self.rows, ROWS_A_COMMIT):
            yield slice(start, min(self.rows, start + ROWS_A_COMMIT))


def lancedb(path, records, indexed):
    import lancedb as lance
    import pyarrow

    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("code", pyarrow.list_(pyarrow.uint8(), 16)),
            ("year", pyarrow.int64()),
            ("score", pyarrow.float64()),
            ("label", pyarrow.string()),
        ]
    )
    batches = [
        pyarrow.RecordBatch.from_arrays(
            [
                pyarrow.array(records.ids[rows]),
                pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(records.codes[rows].reshape(-1)), 16),
                pyarrow.array(records.years[rows]),
                pyarrow.array(records.scores[rows]),
                pyarrow.array(records.labels[rows]),
            ],
            schema=schema,
        )
        for rows in records.commits()
    ]
    started = time.perf_counter()
    table = lance.connect(path).create_table("photos", schema=schema)
    for batch in batches:
        table.add(pyarrow.Table.from_batches([batch]))
    if indexed:
        table.create_index("id", config=lance.index.BTree())
        table.create_index("year", config=lance.index.BTree())
    # The other engines wait for the disk; so it does here.
    for place, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                os.fsync(file.fileno())
    ingest = time.perf_counter() - started
    del table
    started = time.perf_counter()
    table = lance.connect(path).open_table("photos")
    found = table.search().where(f"id = '{records.ids[-1]}'").limit(1).to_arrow()
    reopen = time.perf_counter() - started
    assert bytes(found["code"][0].as_py()) == records.codes[-1].tobytes()
    assert table.count_rows() == records.rows
    return ingest, reopen


def sqlite_vec(path, records):
    import apsw
    import sqlite_vec as extension

    def connect():
        database = apsw.Connection(os.path.join(path, "photos.db"))
        database.enable_load_extension(True)
        database.load_extension(extension.loadable_path())
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        return database

    os.makedirs(path)
    database = connect()
    columns = zip(
        records.ids,
        map(bytes, records.codes),
        records.years.tolist(),
        records.scores.tolist(),
        records.labels,
    )
    rows = list(columns)
    started = time.perf_counter()
    database.execute("CREATE VIRTUAL TABLE codes USING vec0(row INTEGER PRIMARY KEY, code BIT[128])")
    database.execute(
        "CREATE TABLE photos(row INTEGER PRIMARY KEY, id TEXT UNIQUE, year INTEGER, score REAL, label TEXT)"
    )
    database.execute("CREATE INDEX photos_year ON photos(year)")
    for commit in records.commits():
        database.execute("BEGIN")
        numbered = list(zip(range(commit.start, commit.stop), rows[commit]))
        database.executemany(
            "INSERT INTO codes(row, code) VALUES (?, vec_bit(?))", ((row, record[1]) for row, record in numbered)
        )
        database.executemany(
            "INSERT INTO photos VALUES (?, ?, ?, ?, ?)",
            ((row, record[0], *record[2:]) for row, record in numbered),
        )
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    ingest = time.perf_counter() - started
    started = time.perf_counter()
    database = connect()
    query = "SELECT code FROM codes WHERE row = (SELECT row FROM photos WHERE id = ?)"
    ((found,),) = database.execute(query, (records.ids[-1],)).fetchall()
    reopen = time.perf_counter() - started
    assert found == records.codes[-1].tobytes()
    assert database.execute("SELECT count(*) FROM photos").fetchall() == [(records.rows,)]
    return ingest, reopen


def folder_bytes(folder):
    """Bytes on the disk, in whole blocks."""
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512
        for place, _, names in os.walk(folder)
        for name in names
    )


def peer(engine, path, rows):
    """Runs one of the Python engines and prints its figures."""
    records = Records(rows)
    if engine == "sqlite-vec":
        ingest, reopen = sqlite_vec(path, records)
    else:
        ingest, reopen = lancedb(path, records, indexed=engine == "lancedb-indexed")
    figures = {"rows_per_second": rows / ingest, "bytes": folder_bytes(path), "reopen_ms": reopen * 1e3}
    print(json.dumps(figures))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rust_bench")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", nargs=2, metavar=("ENGINE", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(*options.peer, options.rows)
    runs = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory(prefix="twinbit-peers-", dir=options.folder) as scratch:
        for number in range(options.rounds):
            for engine in ENGINES:
                path = os.path.join(scratch, f"{engine}-{number}")
                rows = ["--rows", str(options.rows)]
                if engine in ("twinbit", "rocksdb"):
                    command = [options.rust_bench, "side", engine, path, *rows]
                else:
                    command = [sys.executable, __file__, options.rust_bench, "--peer", engine, path, *rows]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                runs[engine].append(json.loads(output.splitlines()[-1]))
                shutil.rmtree(path)
    print(f"{options.rows:,} records, medians of {options.rounds} rounds\n")
    print("| engine | records/s, closing included | bytes a record on disk | open and read one record |")
    print("|---|---|---|---|")
    for engine, figures in runs.items():
        rate, size, reopen = (
            statistics.median(figure[key] for figure in figures)
            for key in ("rows_per_second", "bytes", "reopen_ms")
        )
        print(f"| {ENGINES[engine]} | {rate:,.0f} | {size / options.rows:.1f} | {reopen:.1f} ms |")


if __name__ == "__main__":
    main()
