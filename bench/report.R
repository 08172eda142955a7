# The results: results.md for people, results.csv for programs, curves.png.

contenders <- c("limit", "sdk", "mxcrypt")

rounded <- function(x, digits = 3) {
  ifelse(
    is.na(x),
    "",
    trimws(format(signif(x, digits), scientific = FALSE, drop0trailing = TRUE))
  )
}

# --- results.csv ------------------------------------------------------------------

csv_rows <- function(rows, measured) {
  one <- function(i, contender) {
    row <- rows[i, ]
    of <- function(column) figure(measured, contender, row, column)
    limit <- figure(measured, "limit", row, "cpu")
    data.frame(
      workload = row$workload,
      size = format(row$size, scientific = FALSE),
      contender = contender,
      wall_s = signif(of("wall"), 4),
      cpu_s = signif(of("cpu"), 4),
      peak_rss_mb = round(of("rss_mb"), 1),
      flushes = of("flushes"),
      ratio_to_limit = round(of("cpu") / limit, 3)
    )
  }
  all <- lapply(seq_len(nrow(rows)), function(i) {
    do.call(rbind, lapply(contenders, function(contender) one(i, contender)))
  })
  all <- do.call(rbind, all)
  all[!is.na(all$cpu_s), ]
}

# --- results.md -------------------------------------------------------------------

table_row <- function(row, measured) {
  of <- function(contender, column) {
    figure(measured, contender, row, column)
  }
  ours <- function(column) of("mxcrypt", column)
  limit <- of("limit", "cpu")
  kb <- if (row$workload == "w5-open") ours("store_kb") else NA
  note <- c(
    if (nzchar(row$note)) row$note,
    if (!is.na(kb)) paste(rounded(kb / 1024), "MB of store")
  )
  cells <- c(
    row$title,
    rounded(limit),
    rounded(of("sdk", "cpu")),
    rounded(ours("cpu")),
    rounded(ours("cpu") / limit, 2),
    rounded(ours("wall")),
    rounded(ours("wall") / limit, 2),
    rounded(ours("rss_mb")),
    rounded(max(0, ours("rss_mb") - ours("idle_mb"))),
    rounded(ours("flushes")),
    rounded(of("sdk", "flushes")),
    paste(note, collapse = "; ")
  )
  paste0("| ", paste(cells, collapse = " | "), " |")
}

growth_line <- function(measured) {
  grows <- function(kind) {
    found <- measured$workload == paste0("w5-growth-", kind)
    rounded(stats::median(measured$bytes_per_event[found]))
  }
  paste0(
    "An event that was delivered leaves ",
    grows("one"),
    " bytes in the store, ",
    grows("thousand"),
    " where 1,000 sessions take turns."
  )
}

# The version of a crate in a lock file.
locked <- function(directory, crate) {
  lock <- readLines(file.path(directory, "Cargo.lock"))
  version <- lock[grep(paste0('^name = "', crate, '"'), lock) + 1L]
  gsub('version = |"', "", version[[1]])
}

machine <- function(runs) {
  cpu <- grep("^model name", readLines("/proc/cpuinfo"), value = TRUE)
  commit <- system2("git", c("rev-parse", "--short", "HEAD"), stdout = TRUE)
  rustc <- system2("rustc", "--version", stdout = TRUE)
  paste0(
    format(Sys.time(), "%Y-%m-%d %H:%M", tz = "UTC"),
    " UTC, ",
    length(cpu),
    " x ",
    sub(".*: ", "", cpu[[1]]),
    ", ",
    rustc,
    ", R ",
    getRversion(),
    ", vodozemac ",
    locked("src/rust", "vodozemac"),
    ", matrix-sdk-crypto ",
    locked("bench/sdk", "matrix-sdk-crypto"),
    " over vodozemac ",
    locked("bench/sdk", "vodozemac"),
    ", mxcrypt ",
    utils::packageVersion("mxcrypt"),
    " at ",
    commit,
    ". Medians of ",
    runs,
    if (quick) ", a quick run",
    "."
  )
}

report_lines <- function(rows, measured, runs) {
  lines <- lapply(seq_len(nrow(rows)), function(i) {
    table_row(rows[i, ], measured)
  })
  c(
    "# mxcrypt beside bare vodozemac and matrix-sdk-crypto",
    "",
    machine(runs),
    "Written by `make bench`; README.md says what is measured.",
    "",
    paste0(
      "| workload | limit cpu s | SDK cpu s | mxcrypt cpu s | ratio | wall s ",
      "| ratio | peak RSS MB | above idle MB | flushes | SDK flushes ",
      "| what mxcrypt does beside |"
    ),
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    unlist(lines),
    if (any(startsWith(rows$process, "w5"))) c("", growth_line(measured)),
    ""
  )
}

# --- curves.png -------------------------------------------------------------------

# What an item costs, at each size: a flat line says that the size does not matter.
draw_curves <- function(rows, measured, file) {
  points <- rows[nzchar(rows$curve), ]
  if (nrow(points) == 0L) {
    return(invisible())
  }
  each <- seq_len(nrow(points))
  cpu <- vapply(
    each,
    function(i) figure(measured, "mxcrypt", points[i, ], "cpu"),
    0
  )
  points$cost <- cpu / points$per * 1e6
  names <- unique(points$curve)
  colours <- grDevices::hcl.colors(length(names), "Dark 3")
  grDevices::png(file, 900, 600, res = 110)
  on.exit(grDevices::dev.off())
  graphics::par(mar = c(4, 4, 1, 1))
  ticks <- 10^(2:5)
  graphics::plot(
    range(ticks),
    range(points$cost, 10^floor(log10(min(points$cost)))),
    log = "xy",
    type = "n",
    las = 1,
    xaxt = "n",
    xlab = "how many",
    ylab = "CPU microseconds for each"
  )
  graphics::axis(1, ticks, format(ticks, big.mark = ",", scientific = FALSE))
  graphics::grid(equilogs = FALSE)
  for (i in seq_along(names)) {
    curve <- points[points$curve == names[[i]], ]
    curve <- curve[order(curve$size), ]
    graphics::lines(
      curve$size,
      curve$cost,
      type = "b",
      pch = 19,
      col = colours[[i]]
    )
  }
  graphics::legend(
    "bottomleft",
    names,
    col = colours,
    lty = 1,
    pch = 19,
    bty = "n"
  )
}
