#!/bin/sh
# Compiles the kernels, or checks what is committed.
#
#   compile.sh          compile every .cu to ptx/ and write the hashes of sources and results
#   compile.sh hashes   check that ptx/ belongs to the sources; needs no compiler
#   compile.sh check    compile again and compare with ptx/; assemble for real cards, print what each
#                       kernel takes, and fail when one of them spills registers
#   compile.sh install  only get the compiler
#
# The compiler comes from pip at the versions in toolchain.txt, into TWINBIT_CUDA or .venv/cuda.
set -eu
export LC_ALL=C
cd "$(dirname "$0")"
modules="chains heads keys layers losses optimizer scan select step tensor"
oldest=compute_80       # what the PTX is for; the driver compiles it for the card at hand
cards="sm_80 sm_90"     # what it is assembled for here

hashes() {
    sha256sum -- toolchain.txt compile.sh *.cu *.cuh ptx/*.ptx
}

check_hashes() {
    [ "$(hashes)" = "$(cat ptx/SHA256SUMS)" ] || {
        echo "compile.sh: ptx/ does not belong to the sources: run 'make kernels' and commit ptx/" >&2
        exit 1
    }
}

install_toolchain() {
    environment="${TWINBIT_CUDA:-$(cd ../.. && pwd)/.venv/cuda}"
    stamp="$environment/installed.txt"
    if ! cmp -s toolchain.txt "$stamp"; then
        python3 -m venv --clear "$environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement toolchain.txt
        cp toolchain.txt "$stamp"
    fi
    nvcc=$(echo "$environment"/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
}

# compile_to FOLDER
compile_to() {
    for module in $modules; do
        "$nvcc" -std=c++17 -O3 -ptx -arch="$oldest" "$module.cu" -o "$1/$module.ptx"
    done
}

# assemble FOLDER: one line a kernel; a spill is an error.
assemble() {
    for card in $cards; do
        echo "$card: kernel, registers, bytes of shared memory, bytes spilled"
        for module in $modules; do
            "$(dirname "$nvcc")/ptxas" -v -arch="$card" "ptx/$module.ptx" -o "$1/$module.$card" 2>&1
        done | awk '
            /Compiling entry function/ { split($0, quoted, "\047"); name = quoted[2] }
            /spill stores/ { spilled = $5 + $9 }
            /Used [0-9]+ registers/ {
                shared = 0
                for (i = 2; i <= NF; i++) if ($i ~ /^smem/) shared = $(i - 2)
                for (i = 2; i <= NF; i++) if ($i ~ /^registers/) registers = $(i - 1)
                printf "  %-20s %4d %7d %4d\n", name, registers, shared, spilled
                if (spilled > 0) spills = spills " " name
                kernels++
            }
            /error|fatal/ { print; failed = 1 }
            END {
                if (spills != "") print "compile.sh: registers spilled in" spills
                exit failed || spills != "" || kernels == 0
            }' || exit 1
    done
}

case "${1:-compile}" in
    install)
        install_toolchain
        ;;
    hashes)
        check_hashes
        ;;
    compile)
        install_toolchain
        mkdir -p ptx
        compile_to ptx
        hashes >ptx/SHA256SUMS
        echo "kernels/cu/ptx: $(cat ptx/*.ptx | wc -c) bytes of PTX for $oldest"
        ;;
    check)
        check_hashes
        install_toolchain
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        compile_to "$scratch"
        for module in $modules; do
            cmp "$scratch/$module.ptx" "ptx/$module.ptx" || {
                echo "compile.sh: $module.ptx is not what its source compiles to: run 'make kernels'" >&2
                exit 1
            }
        done
        assemble "$scratch"
        ;;
    *)
        echo "usage: compile.sh [compile | hashes | check | install]" >&2
        exit 2
        ;;
esac
