# Fails when a floor of the core names one above it, or when files of its machine depend on each
# other in a circle. A folder counts as one file. Depends on: a path `other::...` in code, or in a
# `use`.

files <- list.files(
  "src/rust/core/src/machine",
  pattern = "[.]rs$",
  recursive = TRUE,
  full.names = TRUE
)

# "verification/sas.rs" belongs to "verification".
topic_of <- function(file) {
  inside <- sub("^.*/machine/", "", file)
  sub("[.]rs$", "", strsplit(inside, "/", fixed = TRUE)[[1L]][[1L]])
}

# Code without comments, strings and tests.
code_of <- function(file) {
  lines <- readLines(file, encoding = "UTF-8")
  tests <- match("#[cfg(test)]", lines, nomatch = length(lines) + 1L)
  lines <- sub("//.*$", "", lines[seq_len(tests - 1L)])
  gsub("\"([^\"\\\\]|\\\\.)*\"", "\"\"", paste(lines, collapse = "\n"))
}

# The names that the code brings into scope from outside of the machine hide the topics of these
# names: `use crate::judgement::key_backup`.
uses_of <- function(code) {
  uses <- regmatches(
    code,
    gregexpr("(?s)\\buse (super|crate::machine)::.*?;", code, perl = TRUE)
  )
  crate <- regmatches(
    code,
    gregexpr("(?s)\\bmachine::(\\{.*?\\}|\\w+)", code, perl = TRUE)
  )
  paste(c(unlist(uses), unlist(crate)), collapse = "\n")
}

topics <- setdiff(unique(vapply(files, topic_of, "")), "mod")
depends <- stats::setNames(lapply(topics, function(topic) character()), topics)
for (file in files) {
  topic <- topic_of(file)
  if (topic == "mod") {
    next
  }
  uses <- uses_of(code_of(file))
  named <- unlist(regmatches(uses, gregexpr("\\w+", uses)))
  depends[[topic]] <- union(
    depends[[topic]],
    setdiff(intersect(topics, named), topic)
  )
}

# What depends on nothing that is left is taken away; a circle stays.
repeat {
  free <- names(depends)[lengths(depends) == 0L]
  if (length(free) == 0L) {
    break
  }
  depends <- lapply(depends[setdiff(names(depends), free)], setdiff, free)
}
# And what only leads to a circle.
repeat {
  needed <- names(depends) %in% unlist(depends)
  if (all(needed)) {
    break
  }
  depends <- depends[needed]
}

if (length(depends) > 0L) {
  message("Files of the machine depend on each other in a circle:")
  for (topic in names(depends)) {
    message(
      "  ",
      topic,
      " -> ",
      paste(intersect(depends[[topic]], names(depends)), collapse = ", ")
    )
  }
  quit(status = 1L)
}

# From the lowest to the highest.
floors <- c("primitives", "store", "judgement", "machine")
core <- "src/rust/core/src"
for (floor in floors) {
  above <- floors[-seq_len(match(floor, floors))]
  below <- list.files(
    file.path(core, floor),
    pattern = "[.]rs$",
    recursive = TRUE,
    full.names = TRUE
  )
  for (file in below) {
    code <- code_of(file)
    named <- above[vapply(
      sprintf("\\b%s::", above),
      grepl,
      NA,
      x = code,
      perl = TRUE
    )]
    if (length(named) > 0L) {
      message(file, " names a floor above it: ", paste(named, collapse = ", "))
      quit(status = 1L)
    }
  }
}
