# The commands of this project. Each installs what it needs first (which costs nothing when it is there).
#
#   make demo [WORKERS=N]
#                 the three classic LVS set-ups on real HTTP traffic, in network namespaces (root, or sudo)
#   make test     everything CI checks: check, then unit, property and end-to-end tests
#   make conformance [CORPUS=DIR]
#                 replays recordings of the kernel's IPVS (tests/corpus and tests/recorded, or a directory) and compares
#   make record [KINDS="packets:10:SEED ..."] [OUTPUT=DIR]
#                 makes more recordings with the recorded kernel as User-Mode Linux (conformance/record; root)
#   make vmtest   rvsd on emulated NICs (virtio-net, e1000e, vmxnet3) in a guest of qemu; DEVICES= names some (root)
#   make loom     the snapshot's publication and the rings between workers, in every order of their threads' steps
#   make check    formatting, clippy and docs, warnings denied; the pure crates know no DPDK
#   make bench    rvsd beside dpdk-testpmd, in cycles per packet; QUICK=1 for four rows of it (root);
#                 BENCH=--new for new connections, BENCH=--services for many services and their changes,
#                 BENCH=--handed for frames that are handed from worker to worker
#   make instructions
#                 records how many instructions a packet takes, which a test compares with (benches/instructions.json)
#   make build    rvsd and rvsadm, the binaries that demo and tests run
#   make docs     the manual page and the completions, from the tables in the source
#   make setup    Debian packages
#   make clean    what was built

.DEFAULT_GOAL := help
.PHONY: help setup build docs demo bench instructions conformance record check pure test test-pure test-dpdk test-e2e vmtest loom clean

# Crates that build and pass their tests on a machine without DPDK: pkg-config is kept from finding it.
PURE = -p packet-io -p forwarder -p control -p conformance -p rvs-fuzz -p rvs-bench
WITHOUT_DPDK = env PKG_CONFIG_LIBDIR=/nonexistent PKG_CONFIG_PATH=

SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

help:
	@sed -n '3,/^$$/s/^# *//p' Makefile

setup:
	@scripts/setup.sh

build: setup
	cargo build --workspace --bins
	@$(MAKE) --no-print-directory docs

# The manual page and the completions, from the tables of options and commands.
docs:
	@cargo build --quiet -p control --bin rvsadm
	@mkdir -p contrib/completions
	@target/debug/rvsadm generate man >docs/rvsadm.8
	@target/debug/rvsadm generate bash >contrib/completions/rvsadm.bash
	@target/debug/rvsadm generate zsh >contrib/completions/_rvsadm
	@target/debug/rvsadm generate fish >contrib/completions/rvsadm.fish

check: setup pure
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

pure:
	scripts/check-pure.sh $(PURE)

test-pure: setup
	$(WITHOUT_DPDK) cargo test $(PURE)

test-dpdk: setup
	cargo test -p dpdk-sys -p dpdk-ffi

# One test at a time: each runs a director whose lcore polls.
test-e2e: build
	cargo test -p rvs -- --test-threads=1

# One after the other, cheapest first, whatever -j says.
test:
	$(MAKE) check
	$(MAKE) test-pure
	$(MAKE) test-dpdk
	$(MAKE) test-e2e

# Without DPDK, in simulated time.
conformance:
	cargo run --quiet -p conformance -- $(CORPUS)

# The kernel is fetched and unpacked, not installed.
record:
	$(SUDO) conformance/record/run.sh "$(or $(OUTPUT),target/recorded)" $(or $(KINDS),sched:2 packets:10 calls:2 states:2)

# Own flags, so an own place for what is built.
loom: setup
	$(WITHOUT_DPDK) RUSTFLAGS='--cfg loom' CARGO_PROFILE_TEST_OPT_LEVEL=2 CARGO_TARGET_DIR=target/loom \
		cargo test -p forwarder --lib loom_tests

# Packages that nothing else needs are installed by its own script; what the guest boots is kept in target/vm.
vmtest: build
	@tests/vm/setup.sh
	$(SUDO) python3 tests/vm/run.py target/debug target/vm $(DEVICES)

demo: build
	$(SUDO) python3 demo/demo.py target/debug $(WORKERS)

# The rows go to target/bench/forwarding.json. BENCH= takes more options: `make bench BENCH=--help`.
bench: setup
	cargo build --release -p rvs --bin rvsd -p control --bin rvsadm -p rvs-bench --bin forwarding
	$(SUDO) target/release/forwarding $(if $(QUICK),--quick) $(BENCH)

# What a packet may take from now on, give or take a tenth.
instructions: setup
	RVS_RECORD_INSTRUCTIONS=1 cargo test -p rvs-bench --test instructions
	@git diff --stat -- benches/instructions.json

clean:
	cargo clean
