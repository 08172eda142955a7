# Run by configure and configure.win: finds Rust, decides how cargo is called,
# and writes src/Makevars (src/Makevars.win) from its .in file.
#
# Environment variables:
#   NOT_CRAN  a developer's build: all cores, and Cargo.lock may change
#   DEBUG     the same, without optimisation
#   MXCRYPT_FEATURES  what is built in beside the rest: "postgres"

source("tools/msrv.R")

is_set <- function(name) {
  !(tolower(Sys.getenv(name)) %in% c("", "0", "false", "no"))
}

# The Rust target to ask for; "" is rustc's own.
rust_target <- function(rustc) {
  arch <- R.version$arch
  if (windows) {
    # R is built by gcc on Intel and by clang on ARM, and Rust has to match.
    clang <- arch == "aarch64" || grepl("clang", Sys.getenv("R_COMPILED_BY"))
    return(paste0(arch, "-pc-windows-gnu", if (clang) "llvm"))
  }
  if (Sys.info()[["sysname"]] == "Darwin") {
    # An Intel R may run on an ARM Mac.
    target <- paste0(arch, "-apple-darwin")
    host <- sub("host: ", "", grep("^host: ", rustc("-vV"), value = TRUE))
    return(if (target == host) "" else target)
  }
  ""
}

# Those of `flags` that the linker of an ELF system takes. Rust's archive holds
# far more than R ever calls: these leave it, its symbol names and its debug
# lines out. The symbol table stays, as R CMD check reads it.
link_flags <- function(flags) {
  dir <- tempfile("link")
  dir.create(dir)
  on.exit(unlink(dir, recursive = TRUE))
  writeLines("int mxcrypt_probe(void) { return 0; }", file.path(dir, "a.c"))
  r <- file.path(R.home("bin"), "R")
  cc <- system2(r, c("CMD", "config", "CC"), stdout = TRUE)
  links <- function(flag) {
    command <- paste(
      "cd",
      shQuote(dir),
      "&&",
      cc,
      "-shared -fPIC -o a.so a.c",
      flag,
      ">/dev/null 2>&1"
    )
    system(command) == 0
  }
  paste(Filter(links, flags), collapse = " ")
}

# What is built in beside the rest.
wanted_features <- function() {
  wanted <- strsplit(Sys.getenv("MXCRYPT_FEATURES"), "[ ,]+")[[1]]
  wanted <- wanted[nzchar(wanted)]
  unknown <- setdiff(wanted, "postgres")
  if (length(unknown) > 0) {
    give_up(
      paste0("MXCRYPT_FEATURES names \"", unknown[[1]], "\"."),
      "There is only \"postgres\"."
    )
  }
  wanted
}

# How to link to PostgreSQL's client library. Rust's archive does not say it.
libpq_flags <- function() {
  ask <- function(program, args) {
    found <- suppressWarnings(tryCatch(
      system2(program, args, stdout = TRUE, stderr = FALSE),
      error = function(condition) character()
    ))
    if (is.null(attr(found, "status"))) found
  }
  flags <- ask("pkg-config", c("--libs", "libpq"))
  if (length(flags) > 0) {
    return(flags[[1]])
  }
  dir <- ask("pg_config", "--libdir")
  if (length(dir) == 0) {
    give_up(
      "MXCRYPT_FEATURES=postgres needs libpq, which was not found. Install it:",
      "  Debian and Ubuntu: libpq-dev; Fedora: libpq-devel; macOS: brew install libpq",
      "and have pkg-config or pg_config on the PATH."
    )
  }
  paste0("-L", dir[[1]], " -lpq")
}

windows <- .Platform$OS.type == "windows"
debug <- is_set("DEBUG")
developer <- debug || is_set("NOT_CRAN")
offline <- !developer && file.exists("src/rust/vendor.tar.xz")

bin <- find_rust()
rustc <- function(args) {
  program <- if (nzchar(bin)) file.path(bin, "rustc") else "rustc"
  system2(program, args, stdout = TRUE)
}
target <- rust_target(rustc)
if (nzchar(target)) {
  libdir <- rustc(c("--print target-libdir --target", target))
  if (!any(grepl("^libcore", list.files(libdir)))) {
    give_up(
      paste("Rust cannot build for", target, "yet. Run"),
      paste("  rustup target add", target),
      "and install mxcrypt again."
    )
  }
}

if (nzchar(bin)) {
  # Rtools' shell wants /c/Users, as a colon separates folders in its PATH.
  bin <- paste0(sub("^([A-Za-z]):", "/\\1", chartr("\\", "/", bin)), ":")
}
features <- wanted_features()
elf <- !windows && Sys.info()[["sysname"]] != "Darwin"
values <- list(
  # put in front of the PATH
  CARGO_BIN = bin,
  # CRAN allows two cores
  CARGO_FLAGS = paste(
    c(
      if (!developer) "-j 2 --locked",
      if (offline) "--offline",
      if (!debug) "--release",
      if (length(features) > 0) {
        paste("--features", paste(features, collapse = ","))
      },
      if (nzchar(target)) paste0("--target=", target)
    ),
    collapse = " "
  ),
  # below the target directory
  LIBDIR = paste(
    c(if (nzchar(target)) target, if (debug) "debug" else "release"),
    collapse = "/"
  ),
  LINK_FLAGS = paste(
    c(
      if ("postgres" %in% features) libpq_flags(),
      if (elf && !debug) {
        link_flags(c("-Wl,--gc-sections", "-Wl,--exclude-libs,ALL", "-Wl,-S"))
      }
    ),
    collapse = " "
  ),
  # "yes": build from vendor.tar.xz, without a network
  OFFLINE = if (offline) "yes" else "",
  # not cargo's own rust/target: R's CC and R_HOME would have each build undo
  # the other's
  TARGET_DIR = if (offline) "offline/target" else "rust/target/r"
)

makevars <- if (windows) "src/Makevars.win" else "src/Makevars"
text <- readLines(paste0(makevars, ".in"))
for (name in names(values)) {
  text <- gsub(paste0("@", name, "@"), values[[name]], text, fixed = TRUE)
}
out <- file(makevars, "wb")
writeLines(text, out)
close(out)
message(
  "Building ",
  if (debug) "without optimisation" else "for release",
  if (offline) ", offline, from the vendored crates",
  "."
)
