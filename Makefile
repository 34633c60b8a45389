# Two commands matter: `make demo` (the main job, on real data that comes with the program) and
# `make test`. Both install what is missing first. Everything is built with one cargo profile,
# because RocksDB takes minutes to compile and does so once per profile.

CARGO := cargo
FLAGS := --release --locked
DEMO  := demo-output

# The photo data sets carry no license to redistribute: tests read them when they are at hand.
ifneq ($(wildcard ../shared/data/README.md),)
export TWINBIT_DATA ?= $(abspath ../shared/data)
endif

# Where a run of the scorecard leaves its results.
SCORECARD := $(or $(CARGO_TARGET_DIR),target)/scorecard

.PHONY: demo test check setup format bench bench-peers bench-storage bench-billion bench-train bench-encoder bench-backbones install scorecard scorecard-long kernels kernels-check

demo: setup
	$(CARGO) run $(FLAGS) --bin twinbit -- demo $(DEMO)

test: setup
	$(CARGO) test $(FLAGS) --workspace

# The rows of docs/reliability.md: the sizes of an ordinary test run, or the long ones (hours).
scorecard: setup
	@rm -rf $(SCORECARD) && mkdir -p $(SCORECARD)
	-TWINBIT_SCORECARD_OUT=$(abspath $(SCORECARD)) $(CARGO) test $(FLAGS) --workspace --test scorecard
	-TWINBIT_SCORECARD_OUT=$(abspath $(SCORECARD)) $(CARGO) test $(FLAGS) --workspace --lib -- damage:: fuzz::
	@$(CARGO) run -q $(FLAGS) --bin scorecard -- $(SCORECARD)

scorecard-long: export TWINBIT_SCORECARD := long
scorecard-long: scorecard

check: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(FLAGS) --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(FLAGS) --package twinbit-kernels --no-default-features --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --workspace --no-deps
	$(CARGO) test $(FLAGS) --workspace --test structure

bench: setup
	$(CARGO) bench --locked --workspace --bench scan --bench train_step --bench search --bench layouts

# Search beside FAISS and usearch on the same codes, in turns: a quarter of an hour, then the tables of
# the page are new.
bench-peers: setup .venv/search
	program=$$($(CARGO) bench --locked -p twinbit-kernels --bench search --no-run 2>&1 \
	    | sed -n 's/.*Executable.*(\(.*\))$$/\1/p') && \
	    .venv/bin/python bench/peers/search.py "$$program" --page docs/performance.md

# The Python packages of the peers in one environment.
.venv/%: bench/peers/%.txt
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Storage beside other engines on the same records, in one run. ROWS and FOLDER (on a real disk) may
# be given.
ROWS   ?= 1000000
FOLDER ?= /var/tmp
bench-storage: setup .venv/storage
	$(CARGO) bench --locked --workspace --bench storage -- --folder $(FOLDER) --rows $(ROWS)
	program=$$($(CARGO) bench --locked --workspace --bench storage --no-run 2>&1 \
	    | sed -n 's/.*Executable.*(\(.*\))$$/\1/p') && \
	    .venv/bin/python bench/peers/storage.py "$$program" --folder $(FOLDER) --rows $(ROWS)

# A database of ROWS codes from ingest to answers: ROWS=1000000000 takes 21 GB below FOLDER.
bench-billion: setup
	$(CARGO) bench --locked --workspace --bench billion -- --folder $(FOLDER) --rows $(ROWS)

# Training steps and encoding beside PyTorch on the same cores, in turns.
bench-train: setup .venv/train
	program=$$($(CARGO) bench --locked --workspace --bench train_step --no-run 2>&1 \
	    | sed -n 's/.*Executable.*(\(.*\))$$/\1/p') && .venv/bin/python bench/peers/train.py "$$program"

# The image encoder beside ONNX Runtime on the same weights and pictures, in turns.
bench-encoder: setup .venv/encoder
	program=$$($(CARGO) bench --locked --workspace --bench image_encoder --no-run 2>&1 \
	    | sed -n 's/.*Executable.*(\(.*\))$$/\1/p') && .venv/bin/python bench/peers/encoder.py "$$program"

# Larger backbones beside PyTorch on the same random weights and pictures, in turns.
bench-backbones: setup .venv/backbones
	program=$$($(CARGO) bench --locked --workspace --bench image_encoder --no-run 2>&1 \
	    | sed -n 's/.*Executable.*(\(.*\))$$/\1/p') && .venv/bin/python bench/peers/backbones.py "$$program"

install: setup
	$(CARGO) install --locked --path engine/cli

# The kernels for NVIDIA cards; what they compile to is committed, so that a build needs no compiler.
kernels:
	kernels/cu/compile.sh

kernels-check:
	kernels/cu/compile.sh check

format:
	$(CARGO) fmt --all

setup:
	@.ci/setup
