# Finds a cargo and a rustc that are new enough. Sourced by config.R.

# The oldest Rust that will do, from DESCRIPTION.
minimum_rust <- function() {
  needs <- read.dcf("DESCRIPTION", fields = "SystemRequirements")[[1]]
  sub(".*rustc *>= *([0-9.]+).*", "\\1", needs)
}

# What `<bin>/<program> --version` prints, or NA when there is no such program.
# Without a bin the program is looked for on the PATH.
version_line <- function(program, bin) {
  if (nzchar(bin)) {
    program <- file.path(bin, program)
  }
  out <- tryCatch(
    suppressWarnings(
      system2(program, "--version", stdout = TRUE, stderr = FALSE)
    ),
    error = function(e) character()
  )
  if (length(out)) out[[1]] else NA_character_
}

new_enough <- function(line, minimum) {
  version <- sub("^[a-z]+ ([0-9.]+).*", "\\1", line)
  !is.na(line) && utils::compareVersion(version, minimum) >= 0
}

# "" when the PATH has a Rust that will do, else the folder that has one.
# People's own Rust is often not on the PATH that R sees, or behind an older
# one of the system's.
find_rust <- function() {
  minimum <- minimum_rust()
  windows <- .Platform$OS.type == "windows"
  home <- Sys.getenv(if (windows) "USERPROFILE" else "HOME")
  own <- file.path(Sys.getenv("CARGO_HOME", file.path(home, ".cargo")), "bin")
  found <- character()
  for (bin in c("", own)) {
    cargo <- version_line("cargo", bin)
    rustc <- version_line("rustc", bin)
    if (new_enough(cargo, minimum) && new_enough(rustc, minimum)) {
      # CRAN asks for the versions in the installation log.
      message("Using ", cargo, "\nUsing ", rustc)
      return(bin)
    }
    where <- if (nzchar(bin)) paste("in", bin) else "on the PATH"
    found <- c(
      found,
      sprintf(
        "  %s: %s, %s",
        where,
        if (is.na(cargo)) "no cargo" else cargo,
        if (is.na(rustc)) "no rustc" else rustc
      )
    )
  }
  give_up(
    paste("Building mxcrypt needs cargo and rustc", minimum, "or later. Found"),
    found,
    "Get Rust from https://rustup.rs and install mxcrypt again:",
    "  Linux, macOS    curl --proto '=https' -sSf https://sh.rustup.rs | sh",
    "  Debian, Ubuntu  apt install rustup && rustup default stable",
    "                  (`apt install cargo` only where it is as new as that)",
    "  Windows         winget install Rustlang.Rustup",
    "  if it is old    rustup update"
  )
}

# message() and not stop(): R cuts an error message short.
give_up <- function(...) {
  message(paste(c("", ..., ""), collapse = "\n"))
  quit(save = "no", status = 1)
}
