#!/usr/bin/env python3
"""The same records into twinbit, RocksDB alone, LanceDB and sqlite-vec, on one machine and one disk.

storage.py RUST_BENCH [--folder F] [--rows N] [--rounds N] [--what records|codes]

RUST_BENCH is the program of `cargo bench --bench storage`. Each round runs every engine once, in
the same order, each in a process of its own, so that what else the machine does falls on all of
them. A record is a text id, a code of 128 bits and three fields, of which one is indexed; of `codes`
it is a code alone, whose number the engine assigns. All are durable in commits of 250,000, and
closing the database counts. The tables have medians. Without `--what` both are made.
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
    "records": {
        "twinbit": "twinbit",
        "rocksdb": "RocksDB alone",
        "lancedb": "LanceDB, no index",
        "lancedb-indexed": "LanceDB, BTREE on id and year",
        "sqlite-vec": "sqlite-vec (WAL, synchronous=FULL)",
    },
    "codes": {
        "twinbit": "twinbit",
        "rocksdb": "RocksDB alone",
        "lancedb": "LanceDB, fixed-size binary",
        "sqlite-vec": "sqlite-vec, BIT[128] (WAL, synchronous=FULL)",
    },
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


def lancedb_records(path, records, indexed):
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
    columns = lambda rows: [
        pyarrow.array(records.ids[rows]),
        pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(records.codes[rows].reshape(-1)), 16),
        pyarrow.array(records.years[rows]),
        pyarrow.array(records.scores[rows]),
        pyarrow.array(records.labels[rows]),
    ]
    find = lambda table: table.search().where(f"id = '{records.ids[-1]}'").limit(1).to_arrow()
    ingest, reopen, found = lancedb(path, records, schema, columns, ["id", "year"] if indexed else [], find)
    assert bytes(found["code"][0].as_py()) == records.codes[-1].tobytes()
    return ingest, reopen


def lancedb_codes(path, records):
    import pyarrow

    schema = pyarrow.schema([("code", pyarrow.binary(16))])

    def columns(rows):
        codes = pyarrow.py_buffer(records.codes[rows])
        return [pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(16), len(records.codes[rows]), [None, codes])]

    find = lambda table: table.search().offset(records.rows - 1).limit(1).to_arrow()
    ingest, reopen, found = lancedb(path, records, schema, columns, [], find)
    assert found["code"][0].as_py() == records.codes[-1].tobytes()
    return ingest, reopen


def lancedb(path, records, schema, columns, indexed, find):
    import lancedb as lance
    import pyarrow

    batches = [pyarrow.RecordBatch.from_arrays(columns(rows), schema=schema) for rows in records.commits()]
    started = time.perf_counter()
    table = lance.connect(path).create_table("photos", schema=schema)
    for batch in batches:
        table.add(pyarrow.Table.from_batches([batch]))
    for column in indexed:
        table.create_index(column, config=lance.index.BTree())
    # The other engines wait for the disk; so it does here.
    for place, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                os.fsync(file.fileno())
    ingest = time.perf_counter() - started
    del table
    started = time.perf_counter()
    table = lance.connect(path).open_table("photos")
    found = find(table)
    reopen = time.perf_counter() - started
    assert table.count_rows() == records.rows
    return ingest, reopen, found


def sqlite_vec_records(path, records):
    columns = zip(
        records.ids,
        records.years.tolist(),
        records.scores.tolist(),
        records.labels,
    )
    rows = list(columns)

    def create(database):
        database.execute(
            "CREATE TABLE photos(row INTEGER PRIMARY KEY, id TEXT UNIQUE, year INTEGER, score REAL, label TEXT)"
        )
        database.execute("CREATE INDEX photos_year ON photos(year)")

    def insert(database, commit):
        numbered = zip(range(commit.start, commit.stop), rows[commit])
        database.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?)", ((row, *record) for row, record in numbered))

    find = "SELECT code FROM codes WHERE row = (SELECT row FROM photos WHERE id = ?)"
    return sqlite_vec(path, records, create, insert, find, records.ids[-1])


def sqlite_vec_codes(path, records):
    find = "SELECT code FROM codes WHERE row = ?"
    return sqlite_vec(path, records, lambda _: None, lambda *_: None, find, records.rows - 1)


def sqlite_vec(path, records, create, insert, find, last):
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
    codes = list(map(bytes, records.codes))
    started = time.perf_counter()
    database.execute("CREATE VIRTUAL TABLE codes USING vec0(row INTEGER PRIMARY KEY, code BIT[128])")
    create(database)
    for commit in records.commits():
        database.execute("BEGIN")
        numbered = zip(range(commit.start, commit.stop), codes[commit])
        database.executemany("INSERT INTO codes(row, code) VALUES (?, vec_bit(?))", numbered)
        insert(database, commit)
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    ingest = time.perf_counter() - started
    started = time.perf_counter()
    database = connect()
    ((found,),) = database.execute(find, (last,)).fetchall()
    reopen = time.perf_counter() - started
    assert found == records.codes[-1].tobytes()
    assert database.execute("SELECT count(*) FROM codes").fetchall() == [(records.rows,)]
    return ingest, reopen


def folder_bytes(folder):
    """Bytes on the disk, in whole blocks."""
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512
        for place, _, names in os.walk(folder)
        for name in names
    )


def peer(what, engine, path, rows):
    """Runs one of the Python engines and prints its figures."""
    records = Records(rows)
    if engine == "sqlite-vec":
        run = {"records": sqlite_vec_records, "codes": sqlite_vec_codes}[what]
        ingest, reopen = run(path, records)
    elif what == "codes":
        ingest, reopen = lancedb_codes(path, records)
    else:
        ingest, reopen = lancedb_records(path, records, indexed=engine == "lancedb-indexed")
    figures = {"rows_per_second": rows / ingest, "bytes": folder_bytes(path), "reopen_ms": reopen * 1e3}
    print(json.dumps(figures))


def compare(what, options):
    """Runs every engine in turns and prints the table."""
    engines = ENGINES[what]
    runs = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory(prefix="twinbit-peers-", dir=options.folder) as scratch:
        for number in range(options.rounds):
            for engine in engines:
                path = os.path.join(scratch, f"{engine}-{number}")
                run = [what, engine, path, "--rows", str(options.rows)]
                if engine in ("twinbit", "rocksdb"):
                    command = [options.rust_bench, "side", *run]
                else:
                    command = [sys.executable, __file__, options.rust_bench, "--peer", *run]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                runs[engine].append(json.loads(output.splitlines()[-1]))
                shutil.rmtree(path)
    print(f"{options.rows:,} {what}, medians of {options.rounds} rounds\n")
    print("| engine | rows/s, closing included | bytes a row on disk | open and read one row |")
    print("|---|---|---|---|")
    for engine, figures in runs.items():
        rate, size, reopen = (
            statistics.median(figure[key] for figure in figures)
            for key in ("rows_per_second", "bytes", "reopen_ms")
        )
        print(f"| {engines[engine]} | {rate:,.0f} | {size / options.rows:.1f} | {reopen:.1f} ms |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rust_bench")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--what", choices=ENGINES)
    parser.add_argument("--peer", nargs=3, metavar=("WHAT", "ENGINE", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(*options.peer, options.rows)
    for what in [options.what] if options.what else ENGINES:
        compare(what, options)


if __name__ == "__main__":
    main()
