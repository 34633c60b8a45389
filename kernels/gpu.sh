#!/bin/sh
# Tests and benches of the CUDA kernels in one folder that can be carried to a machine with a card.
# There it needs the NVIDIA driver and a C library as new as this machine's, neither Rust nor CUDA;
# training and encoding need cuBLAS, too: the system's, that of a folder in LD_LIBRARY_PATH, or the one
# that came with PyTorch.
#
#   gpu.sh build [FOLDER]      build into FOLDER (target/gpu), with this script
#   gpu.sh test [FOLDER]       run the tests; without a card they fail here
#   gpu.sh bench [FOLDER]      print figures as JSON, also to FOLDER/{bench,training,pytorch}.json; the
#                              last where python3 has PyTorch
#   gpu.sh sanitize [FOLDER]   run the small tests under compute-sanitizer (memcheck and racecheck)
set -eu

action="${1:-}"
here="$(cd "$(dirname "$0")" && pwd)"
folder="${2:-}"
if [ -z "$folder" ]; then
    if [ -x "$here/gpu_matches_cpu" ]; then folder="$here"; else folder="$here/../target/gpu"; fi
fi

# Let programs find NVIDIA's libraries among Python's packages, after all others.
find_libraries() {
    found="$(python3 -c 'import glob, nvidia
print(":".join(place for root in nvidia.__path__ for place in glob.glob(root + "/*/lib")))' 2>/dev/null || true)"
    if [ -n "$found" ]; then
        export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$found"
    fi
}

# executable KIND NAME: build one target and print where its program is.
executable() {
    cargo build --release --locked --package twinbit-kernels "--$1" "$2" \
        --message-format json-render-diagnostics |
        sed -n "s/.*\"name\":\"$2\".*\"executable\":\"\([^\"]*\)\".*/\1/p"
}

# report FILE COMMAND...: show what a command prints, kept in FILE; a command that fails leaves none.
report() {
    file="$1"
    shift
    rm -f "$file"
    "$@" >"$file.part"
    mv "$file.part" "$file"
    cat "$file"
}

case "$action" in
    build)
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
        ;;
    test)
        find_libraries
        TWINBIT_REQUIRE_CARD=1 "$folder/gpu_matches_cpu" --nocapture --test-threads 1
        ;;
    bench)
        find_libraries
        report "$folder/bench.json" "$folder/cuda_search"
        report "$folder/training.json" "$folder/cuda_training"
        if python3 -c "import torch" 2>/dev/null; then
            report "$folder/pytorch.json" python3 "$folder/train.py" card
        fi
        ;;
    sanitize)
        find_libraries
        for tool in memcheck racecheck; do
            TWINBIT_REQUIRE_CARD=1 compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$folder/gpu_matches_cpu" small_ --nocapture --test-threads 1
        done
        ;;
    *)
        echo "usage: gpu.sh build | test | bench | sanitize [FOLDER]" >&2
        exit 2
        ;;
esac
