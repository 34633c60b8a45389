#!/bin/sh
# Tests and benches of the CUDA kernels in one folder that can be carried to a machine with a card.
# There it needs the NVIDIA driver and a C library as new as this machine's, neither Rust nor CUDA.
#
#   gpu.sh build [FOLDER]      build into FOLDER (target/gpu), with this script
# Training and encoding need cuBLAS of CUDA 13 there, too: LD_LIBRARY_PATH names its folder.
#
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

# executable KIND NAME: build one target and print where its program is.
executable() {
    cargo build --release --locked --package twinbit-kernels "--$1" "$2" \
        --message-format json-render-diagnostics |
        sed -n "s/.*\"name\":\"$2\".*\"executable\":\"\([^\"]*\)\".*/\1/p"
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
        TWINBIT_REQUIRE_CARD=1 "$folder/gpu_matches_cpu" --nocapture --test-threads 1
        ;;
    bench)
        "$folder/cuda_search" | tee "$folder/bench.json"
        "$folder/cuda_training" | tee "$folder/training.json"
        if python3 -c "import torch" 2>/dev/null; then
            python3 "$folder/train.py" card | tee "$folder/pytorch.json"
        fi
        ;;
    sanitize)
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
