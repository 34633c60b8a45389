#!/bin/sh
# Tests and benches of the CUDA kernels in one folder that can be carried to a machine with a card.
# There it needs the NVIDIA driver and a C library as new as this machine's, neither Rust nor CUDA;
# training and encoding need cuBLAS, too: the system's, that of a folder in LD_LIBRARY_PATH, or the one
# that came with PyTorch.
#
#   gpu.sh build [FOLDER]        build into FOLDER (target/gpu), with this script
#   gpu.sh test [SECTION...]     the tests whose names contain a SECTION, or all; without a card they fail
#   gpu.sh bench [SECTION...]    scan, batch, steps, encoding and pytorch (where python3 has it), or some of them;
#                                each prints one JSON object a line as soon as it is known
#   gpu.sh sanitize [TOOL...]    the small tests under compute-sanitizer (memcheck and racecheck)
#   gpu.sh all                   test, bench and sanitize
#   gpu.sh list                  the sections of test and bench
#
# Every test and every part of a bench is a section: a program of its own, with its own time limit
# (TWINBIT_SECONDS, 240), so that a failure, a fault of the card or a section that hangs costs nothing but
# itself. All run; the last line names those that failed, and the exit code is then 1. What a section prints is also in
# TWINBIT_RESULTS/ACTION-SECTION.txt (results/ in the folder), whole up to the moment when something ends it.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"
folder="$here/../target/gpu"
if [ -x "$here/gpu_matches_cpu" ]; then folder="$here"; fi
results="${TWINBIT_RESULTS:-$folder/results}"
limit="${TWINBIT_SECONDS:-240}"
passed=""
failed=""
skipped=""

# Let programs find NVIDIA's libraries: the driver's where containers mount it, and those among Python's
# packages, after all others.
find_libraries() {
    found="$(python3 -c 'import glob, nvidia
print(":".join(place for root in nvidia.__path__ for place in glob.glob(root + "/*/lib")))' 2>/dev/null || true)"
    for places in /usr/local/nvidia/lib64 "$found"; do
        case "$places" in
            "") continue ;;
            /usr/local/nvidia/lib64) [ -d "$places" ] || continue ;;
        esac
        LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$places"
    done
    [ -z "${LD_LIBRARY_PATH:-}" ] || export LD_LIBRARY_PATH
}

# executable KIND NAME: build one target and print where its program is.
executable() {
    cargo build --release --locked --package twinbit-kernels "--$1" "$2" \
        --message-format json-render-diagnostics |
        sed -n "s/.*\"name\":\"$2\".*\"executable\":\"\([^\"]*\)\".*/\1/p"
}

# section ACTION NAME COMMAND...: run a section, show and keep what it prints, and note how it ended.
section() {
    name="$1-$2"
    shift 2
    mkdir -p "$results"
    echo "== $name"
    {
        code=0
        timeout -k 5 "$limit" "$@" 2>&1 || code=$?
        echo "$code" >"$results/$name.code"
    } | tee "$results/$name.txt"
    code="$(cat "$results/$name.code")"
    rm -f "$results/$name.code"
    case "$code" in
        0) passed="$passed $name" ;;
        124 | 137) failed="$failed $name (ended after $limit seconds)" ;;
        *) failed="$failed $name (exit code $code)" ;;
    esac
}

# The tests of the program; each is run by itself, since after a fault nothing more of a process works on the card.
tests() {
    "$folder/gpu_matches_cpu" --list 2>/dev/null | sed -n 's/: test$//p'
}

# asked NAME SECTION...: whether a name contains one of the sections; all do where there is none.
asked() {
    name="$1"
    shift
    [ $# -gt 0 ] || return 0
    for part in "$@"; do
        case "$name" in *"$part"*) return 0 ;; esac
    done
    return 1
}

run_tests() {
    for name in $(tests); do
        if asked "$name" "$@"; then
            section test "$name" "$folder/gpu_matches_cpu" --exact "$name" --nocapture
        fi
    done
}

run_benches() {
    [ $# -gt 0 ] || set -- scan batch steps encoding pytorch
    for name in "$@"; do
        case "$name" in
            scan | batch) section bench "$name" "$folder/cuda_search" "$name" ;;
            steps | encoding) section bench "$name" "$folder/cuda_training" "$name" ;;
            pytorch)
                if python3 -c "import torch" 2>/dev/null; then
                    section bench pytorch python3 "$folder/train.py" card
                else
                    skipped="$skipped bench-pytorch (python3 has no module torch)"
                fi
                ;;
            *) failed="$failed bench-$name (no such section)" ;;
        esac
    done
}

run_sanitizer() {
    if ! command -v compute-sanitizer >/dev/null; then
        failed="$failed sanitize (there is no compute-sanitizer)"
        return
    fi
    [ $# -gt 0 ] || set -- memcheck racecheck
    for tool in "$@"; do
        for name in $(tests); do
            case "$name" in small_*) ;; *) continue ;; esac
            section sanitize "$tool-$name" compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$folder/gpu_matches_cpu" --exact "$name" --nocapture
        done
    done
}

# Say how the sections ended.
finish() {
    [ -z "$passed" ] || echo "gpu.sh: passed:$passed"
    [ -z "$skipped" ] || echo "gpu.sh: skipped:$skipped"
    if [ -n "$failed" ]; then
        echo "gpu.sh: failed:$failed"
        exit 1
    fi
    [ -n "$passed$skipped" ] || {
        echo "gpu.sh: nothing was run" >&2
        exit 1
    }
}

action="${1:-}"
[ $# -eq 0 ] || shift
case "$action" in
    build)
        folder="${1:-$folder}"
        mkdir -p "$folder"
        folder="$(cd "$folder" && pwd)"
        cd "$here"
        for target in "test gpu_matches_cpu" "bench cuda_search" "bench cuda_training"; do
            # shellcheck disable=SC2086
            program="$(executable $target)"
            install -m 755 "$program" "$folder/${target#* }"
        done
        install -m 755 gpu.sh "$folder/gpu.sh"
        install -m 644 ../bench/peers/train.py "$folder/train.py"
        du -sh "$folder"
        exit 0
        ;;
    list)
        tests
        printf '%s\n' scan batch steps encoding pytorch
        exit 0
        ;;
esac
find_libraries
# A section that finds no card has not passed.
export TWINBIT_REQUIRE_CARD=1
case "$action" in
    test) run_tests "$@" ;;
    bench) run_benches "$@" ;;
    sanitize) run_sanitizer "$@" ;;
    all)
        run_tests
        run_benches
        run_sanitizer
        ;;
    *)
        echo "usage: gpu.sh build [FOLDER] | test | bench | sanitize | all | list [SECTION...]" >&2
        exit 2
        ;;
esac
finish
