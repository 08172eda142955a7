# What a developer does, a word each. `make demo` and `make test` need nothing
# but git, make and Rust: they set up the rest themselves (tools/setup.sh).

SHELL := /bin/bash
# A library of the project's own, so that no other version of the package is
# installed over or tested by mistake.
LIBRARY := $(CURDIR)/.tools/library
export R_LIBS := $(LIBRARY)
export PATH := $(PATH):$(HOME)/.cargo/bin
# A build keeps what it compiled; CRAN's builds start from nothing.
export NOT_CRAN := true

.PHONY: help setup install demo test container spark simulation lint msrv deny typos bench bench-compare document \
  readme site vendor build check check-next clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: ## Install what is missing: R, Synapse, Node, their packages
	@tools/setup.sh

install: setup ## Build the package into .tools/library
	@mkdir -p $(LIBRARY)
	+@MXCRYPT_FEATURES=postgres R CMD INSTALL --library=$(LIBRARY) --no-test-load . > .tools/install.log 2>&1 \
	  || { cat .tools/install.log; exit 1; }

demo: install ## Two people, a real homeserver, and a process that is killed
	@Rscript tools/demo.R

test: install ## All tests: cargo, testthat, and live against Synapse
	@Rscript tools/test.R

container: install ## A bot in what its Dockerfile makes, in a chroot, against Synapse (as root)
	@tools/setup.sh container
	@tools/container.sh build > .tools/container/build.log 2>&1 \
	  || { tail -n 40 .tools/container/build.log; exit 1; }
	@Rscript -e 'testthat::test_dir("tests/container", package = "mxcrypt", load_package = "installed")'

spark: install ## mx_decrypt() in R processes of a real, local Spark
	@tools/setup.sh spark
	@Rscript -e 'testthat::test_dir("tests/spark", package = "mxcrypt", load_package = "installed")'

simulation: ## The simulation over SEEDS seeds (100,000: a night)
	@SIMULATION_SEEDS=$(or $(SEEDS),100000) cargo test --release \
	  --manifest-path src/rust/Cargo.toml -p mxcrypt-core --test simulation

lint: setup ## Formats and lints of both languages, and the spelling of documents
	@tools/setup.sh spelling
	@tools/lint.sh

msrv: ## The core with the oldest Rust that is promised (RUSTUP_TOOLCHAIN chooses it)
	@cargo check --locked --manifest-path src/rust/Cargo.toml -p mxcrypt-core

deny: ## Licences, sources and advisories of all crates (needs cargo-deny)
	@cargo deny --manifest-path src/rust/Cargo.toml check --config $(CURDIR)/deny.toml

typos: ## Typos in code and documents (needs typos)
	@typos

bench: install ## Measure against bare vodozemac and the SDK, in the same run (QUICK=1)
	@BENCH_QUICK=$(QUICK) bench/run.sh

bench-compare: install ## Measure against another revision, in turn (BASE=revision)
	@bench/compare.sh $(or $(BASE),HEAD)

document: setup ## Write the R wrappers of the glue, NAMESPACE and man/
	@tools/document.sh

readme: install ## Write README.md from README.Rmd, with real output
	@Rscript tools/demo.R > .tools/demo.txt
	@Rscript tools/demo-sign-in.R > .tools/demo-sign-in.txt
	@Rscript -e 'rmarkdown::render("README.Rmd", quiet = TRUE, output_format = rmarkdown::github_document(html_preview = FALSE))'

site: install ## The site of the documents in .tools/site: runs vignettes and examples, checks links
	@tools/setup.sh site
	@tools/site.sh

vendor: setup ## The bundle of all crates that a CRAN build uses, offline
	@Rscript tools/vendor.R

build: vendor ## The source package
	@tools/build.sh

check: build ## R CMD check --as-cran on the source package
	@tools/check.sh

check-next: build ## The same with the newest R and Rust of Debian, in a chroot without network (as root)
	@tools/setup.sh next-debian
	@tools/next-debian.sh check

clean: ## Remove what was built, and keep what was installed
	@rm -rf src/rust/target bench/raw/target bench/sdk/target tests/rust/target $(LIBRARY) \
	  src/*.o src/*.so *.Rcheck mxcrypt_*.tar.gz .tools/build
