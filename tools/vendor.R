# Packs the Rust crates for a release: `Rscript tools/vendor.R`
#
#   src/rust/vendor.tar.xz       the crates of Cargo.lock, pruned
#   src/rust/vendor-config.toml  tells cargo to use them
#   inst/AUTHORS                 who wrote them, under which licence (committed)
#
# The same Cargo.lock gives the same archive, byte for byte. Needs cargo, the
# network, GNU tar, xz and jsonlite.

manifest <- "src/rust/Cargo.toml"
archive <- normalizePath("src/rust/vendor.tar.xz", mustWork = FALSE)
config <- "src/rust/vendor-config.toml"

# Runs a program; its output is returned, its failure is ours.
run <- function(program, ..., env = character()) {
  out <- suppressWarnings(system2(program, c(...), stdout = TRUE, env = env))
  if (!is.null(attr(out, "status"))) {
    stop(paste(c(program, ...), collapse = " "), " failed", call. = FALSE)
  }
  out
}

# The crates of Cargo.lock that are not our own, named as `cargo vendor
# --versioned-dirs` names their folders, each with the features we turn on.
crates <- function(...) {
  out <- run(
    "cargo",
    "metadata",
    "--quiet",
    "--locked",
    "--format-version=1",
    "--manifest-path",
    manifest,
    ...
  )
  out <- jsonlite::fromJSON(out, simplifyVector = FALSE)
  on <- lapply(out$resolve$nodes, function(node) unlist(node$features))
  names(on) <- vapply(out$resolve$nodes, function(node) node$id, "")
  all <- Filter(function(crate) !is.null(crate$source), out$packages)
  all <- lapply(all, function(crate) {
    crate$on <- on[[crate$id]]
    crate$license <- c(crate$license, "see its licence file")[[1]]
    crate
  })
  names(all) <- vapply(
    all,
    function(crate) {
      paste(crate$name, crate$version, sep = "-")
    },
    ""
  )
  all[sort(names(all), method = "radix")]
}

# Those that some system R runs on has a use for.
used_crates <- function() {
  systems <- paste(
    "linux-(gnu|musl)",
    "apple-darwin",
    "windows-gnu",
    "bsd$",
    "dragonfly$",
    "solaris$",
    "illumos$",
    "emscripten$",
    sep = "|"
  )
  targets <- grep(systems, run("rustc", "--print=target-list"), value = TRUE)
  do.call(crates, as.list(paste0("--filter-platform=", targets)))
}

files_in <- function(dir) {
  list.files(dir, recursive = TRUE, all.files = TRUE, no.. = TRUE)
}

# The files cargo compiles first, relative to the crate's folder.
roots <- function(crate) {
  built <- Filter(
    function(target) {
      !any(c("bin", "example", "test", "bench") %in% unlist(target$kind))
    },
    crate$targets
  )
  from <- nchar(dirname(crate$manifest_path)) + 2
  vapply(built, function(target) substring(target$src_path, from), "")
}

# A crate that is never compiled keeps its manifest, with which cargo resolves,
# and has nothing else in it.
stub <- function(dir, crate) {
  files <- list.files(dir, all.files = TRUE, no.. = TRUE)
  files <- setdiff(files, c("Cargo.toml", ".cargo-checksum.json"))
  unlink(file.path(dir, files), recursive = TRUE)
  for (path in file.path(dir, roots(crate))) {
    dir.create(dirname(path), showWarnings = FALSE)
    writeLines("// No system that R runs on needs this crate.", path)
  }
  list_checksums(dir, "Cargo.toml")
}

text_of <- function(files) {
  lines <- unlist(lapply(files, readLines, warn = FALSE))
  paste(lines, collapse = "\n")
}

# Does Rust source read a folder when it is compiled? A build script may by any
# string, a crate by include_str!("../docs/x.md") and the like.
reads <- function(folder, script, source) {
  string <- sprintf("[\"/\\\\]\\Q%s\\E[\"/\\\\]", folder)
  include <- "(include(_str|_bytes)?\\s*!|path\\s*=)[^;]{0,200}?"
  grepl(string, script, perl = TRUE, useBytes = TRUE) ||
    grepl(paste0(include, string), source, perl = TRUE, useBytes = TRUE)
}

# Takes out the folders that are not read when a crate is compiled (tests,
# benches, most examples and docs), and what cargo left.
prune <- function(dir, crate) {
  files <- setdiff(files_in(dir), ".cargo-checksum.json")
  folder <- ifelse(grepl("/", files), sub("/.*", "", files), "")
  rust <- grepl("\\.rs$", files)
  keep <- c("", "src", sub("/.*", "", grep("/", roots(crate), value = TRUE)))
  build <- setdiff(keep, "src")
  script <- text_of(file.path(dir, files[rust & folder %in% build]))
  repeat {
    source <- text_of(file.path(dir, files[rust & folder %in% keep]))
    read <- Filter(
      function(name) {
        reads(name, script, source)
      },
      setdiff(folder, keep)
    )
    if (!length(read)) {
      break
    }
    keep <- c(keep, read)
  }
  needless <- c(setdiff(folder, keep), "Cargo.lock", "Cargo.toml.orig")
  if (crate$name == "windows-sys") {
    needless <- c(needless, modules_off(files, crate$on))
  }
  unlink(file.path(dir, needless), recursive = TRUE)
  list_checksums(dir, files_in(dir))
}

# windows-sys is 19 MB of modules, each behind a feature named for its path.
modules_off <- function(files, on) {
  modules <- grep("^src/Windows/.+/mod\\.rs$", files, value = TRUE)
  feature <- gsub("/", "_", sub("^src/Windows/(.+)/mod\\.rs$", "\\1", modules))
  modules[!(feature %in% on)]
}

# cargo checks the files that are listed, so only those that are left are.
list_checksums <- function(dir, files) {
  path <- file.path(dir, ".cargo-checksum.json")
  sums <- jsonlite::read_json(path)
  sums$files <- sums$files[names(sums$files) %in% files]
  jsonlite::write_json(sums, path, auto_unbox = TRUE)
}

# One archive for one Cargo.lock: sorted, and without times and owners.
pack <- function(parent) {
  run(
    "tar",
    "-C",
    parent,
    "--sort=name",
    "--mtime=2000-01-01T00:00Z",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u=rwX,go=rX",
    "--no-xattrs",
    "--format=gnu",
    "-cf",
    file.path(parent, "vendor.tar"),
    "vendor"
  )
  run("xz", "-9e", "-T1", file.path(parent, "vendor.tar"))
  file.copy(file.path(parent, "vendor.tar.xz"), archive, overwrite = TRUE)
}

# What an installation without a network does, less optimised.
check <- function() {
  dir <- tempfile("offline")
  home <- file.path(dir, "home")
  dir.create(home, recursive = TRUE)
  on.exit(unlink(dir, recursive = TRUE))
  run("tar", "-xf", archive, "-C", dir)
  file.copy(config, file.path(home, "config.toml"))
  run(
    "cargo",
    "build",
    "--quiet",
    "--locked",
    "--offline",
    "--lib",
    "--manifest-path",
    manifest,
    "--target-dir",
    file.path(dir, "target"),
    env = paste0("CARGO_HOME=", home)
  )
}

# Apache-2.0 is mxcrypt's own licence and needs no copy here; the text of any
# other licence has to travel with the compiled library, too.
authors <- function(crates, dir) {
  entry <- function(crate) {
    who <- sub(" *<.*", "", unlist(crate$authors))
    c(
      sprintf("%s %s, %s", crate$name, crate$version, crate$license),
      if (length(who)) paste0("    ", paste(who, collapse = ", ")),
      if (!is.null(crate$repository)) paste0("    ", crate$repository)
    )
  }
  other <- Filter(
    function(crate) {
      !grepl("Apache-2.0", crate$license) || grepl(" AND ", crate$license)
    },
    crates
  )
  texts <- lapply(names(other), function(name) {
    files <- list.files(
      file.path(dir, name),
      "^(LICEN[CS]E|COPYING|UNLICENSE)",
      full.names = TRUE,
      ignore.case = TRUE
    )
    files <- files[!grepl("apache", files, ignore.case = TRUE)]
    if (!length(files)) {
      return(c("", paste(other[[name]]$license, "(the crate holds no text)")))
    }
    unlist(lapply(files, function(file) c("", readLines(file, warn = FALSE))))
  })
  c(
    "The compiled part of mxcrypt is made of these Rust crates, of SQLite,",
    "which is in the public domain (https://sqlite.org/copyright.html), and of",
    "the Rust standard library by The Rust Project Developers, MIT OR",
    "Apache-2.0. The table of emoji, inst/sas-emoji.json, is that of the Matrix",
    "specification (https://github.com/matrix-org/matrix-spec), by The Matrix.org",
    "Foundation C.I.C., Apache-2.0. Written by tools/vendor.R from",
    "src/rust/Cargo.lock.",
    "",
    unlist(lapply(crates, entry), use.names = FALSE),
    "",
    "The licences of those that do not offer Apache-2.0 alone:",
    unlist(
      Map(
        function(name, text) {
          c("", strrep("-", 79), name, text)
        },
        names(other),
        texts
      ),
      use.names = FALSE
    )
  )
}

parent <- tempfile("vendor")
dir <- file.path(parent, "vendor")
dir.create(parent)
all <- crates()
invisible(run(
  "cargo",
  "vendor",
  "--quiet",
  "--locked",
  "--versioned-dirs",
  "--manifest-path",
  manifest,
  dir
))
writeLines(
  c(
    "[source.crates-io]",
    "replace-with = \"vendor\"",
    "",
    "[source.vendor]",
    "directory = \"vendor\""
  ),
  config
)

used <- used_crates()
dir.create("inst", showWarnings = FALSE)
writeLines(authors(used, dir), "inst/AUTHORS", useBytes = TRUE)
for (name in names(used)) {
  prune(file.path(dir, name), used[[name]])
}
unused <- all[setdiff(names(all), names(used))]
for (name in names(unused)) {
  stub(file.path(dir, name), unused[[name]])
}
invisible(pack(parent))
unlink(parent, recursive = TRUE)
message("Building offline from ", basename(archive))
invisible(check())
message(
  length(used),
  " crates, ",
  length(unused),
  " stubs, ",
  round(file.size(archive) / 1e6, 2),
  " MB"
)
