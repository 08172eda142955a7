# The archive as a file, written part by part.

#' @rdname mx_archive_read
#' @export
mx_archive_export <- function(
  client,
  path,
  rooms = NULL,
  format = NULL,
  since = NULL,
  until = NULL,
  types = NULL,
  unsigned = FALSE,
  edits = TRUE,
  overwrite = FALSE
) {
  wanted <- archive_range(client, rooms, since, until, types, unsigned, edits)
  path <- check_path(path)
  format <- export_format(format, path)
  check_flag(overwrite)
  if (!overwrite && file.exists(path)) {
    wanted <- "a file that is not there yet, unless `overwrite = TRUE`"
    argument_abort("path", wanted, caller_env(), path)
  }
  call <- caller_env()
  if (format == "parquet" && !requireNamespace("arrow", quietly = TRUE)) {
    check_package("nanoparquet", call)
  }
  # Beside it, so that it takes its name in one step, and closed to others from the
  # beginning. What a process left that was killed is replaced by the next one.
  draft <- file.path(dirname(path), paste0(".", basename(path), ".part"))
  on.exit(unlink(draft, expand = FALSE))
  written <- function(code) {
    tryCatch(
      code,
      warning = function(condition) file_abort("written", path, call),
      mx_error = function(condition) raise(condition),
      error = function(condition) file_abort("written", path, call)
    )
  }
  written(core(private_file_write(draft, "")))
  writer <- written(export_writer(format, draft))
  on.exit(writer[["close"]](), add = TRUE, after = FALSE)
  walk_archive(client, wanted, function(events) {
    rows <- as.data.frame(events, flat = TRUE)
    written(writer[["write"]](rows))
  })
  written(writer[["close"]]())
  if (!writer[["is_whole"]]()) {
    file_abort("written", path, call)
  }
  written(file.rename(draft, path))
  invisible(path)
}

export_format <- function(format, path, call = caller_env()) {
  known <- c("csv", "jsonl", "parquet")
  if (!is.null(format)) {
    return(check_choice(format, known, "format", call = call))
  }
  ending <- tolower(sub("^.*[.]", "", basename(path)))
  if (!ending %in% known) {
    argument_abort(
      "format",
      "given, as \"csv\", \"jsonl\" or \"parquet\": the name of the file does not say it",
      call,
      path
    )
  }
  ending
}

# What writes one data frame after the other to a file.
export_writer <- function(format, path) {
  if (format == "parquet") {
    return(parquet_writer(path))
  }
  connection <- file(path, "ab")
  as_bytes <- if (format == "csv") csv_lines else json_lines
  size <- NULL
  list(
    write = function(rows) {
      bytes <- as_bytes(rows, is.null(size))
      size <<- (size %||% 0) + length(bytes)
      writeBin(bytes, connection)
    },
    close = function() {
      if (!is.null(connection)) {
        open <- connection
        connection <<- NULL
        close(open)
      }
    },
    # R tells nobody that a disk was full when the last part was written.
    is_whole = function() identical(file.size(path), as.numeric(size))
  )
}

csv_lines <- function(rows, with_header) {
  rows[["origin_server_ts"]] <- utc_text(rows[["origin_server_ts"]])
  cells <- lapply(rows, function(column) {
    text <- enc2utf8(as.character(column))
    # What is missing is an empty cell, what is empty a quoted one.
    ifelse(is.na(text), "", ifelse(nzchar(text), quote_csv(text), "\"\""))
  })
  lines <- do.call(paste, c(unname(cells), sep = ","))
  if (with_header) {
    lines <- c(paste(names(rows), collapse = ","), lines)
  }
  as_file_lines(lines)
}

# `content` is JSON text already.
json_lines <- function(rows, with_header) {
  rows[["origin_server_ts"]] <- utc_text(rows[["origin_server_ts"]])
  rows[["trust"]] <- as.character(rows[["trust"]])
  members <- lapply(names(rows), function(name) {
    column <- rows[[name]]
    is_json <- name %in% c("content", "relates_to", "mentions")
    text <- if (is_json) column else json_scalars(column)
    ifelse(is.na(column), NA_character_, paste0("\"", name, "\":", text))
  })
  lines <- vapply(
    seq_len(nrow(rows)),
    function(i) {
      row <- vapply(members, `[[`, "", i)
      paste0("{", paste(row[!is.na(row)], collapse = ","), "}")
    },
    ""
  )
  as_file_lines(lines)
}

# Values as JSON. Few of them differ.
json_scalars <- function(column) {
  values <- unique(column)
  text <- vapply(
    values,
    function(x) core(json_encode(x)),
    "",
    USE.NAMES = FALSE
  )
  text[match(column, values)]
}

utc_text <- function(times) {
  # format() cuts off.
  format(times + 0.0005, "%Y-%m-%dT%H:%M:%OS3Z", tz = "UTC")
}

as_file_lines <- function(lines) {
  if (length(lines) == 0L) {
    return(raw())
  }
  charToRaw(paste0(enc2utf8(lines), "\n", collapse = ""))
}

# Row groups are added one by one.
parquet_writer <- function(path) {
  if (requireNamespace("nanoparquet", quietly = TRUE)) {
    nanoparquet_writer(path)
  } else {
    arrow_writer(path)
  }
}

nanoparquet_writer <- function(path) {
  write <- nanoparquet::write_parquet
  list(
    write = function(rows) {
      write(parquet_columns(rows), path)
      write <<- nanoparquet::append_parquet
    },
    close = function() NULL,
    is_whole = function() TRUE
  )
}

arrow_writer <- function(path) {
  sink <- arrow::FileOutputStream[["create"]](path)
  writer <- NULL
  closed <- FALSE
  list(
    write = function(rows) {
      table <- arrow::arrow_table(parquet_columns(rows))
      if (is.null(writer)) {
        writer <<- arrow::ParquetFileWriter[["create"]](table[["schema"]], sink)
      }
      writer[["WriteTable"]](table, chunk_size = archive_part_size)
    },
    close = function() {
      if (!closed) {
        closed <<- TRUE
        if (!is.null(writer)) {
          writer[["Close"]]()
        }
        sink[["close"]]()
      }
    },
    is_whole = function() TRUE
  )
}

parquet_columns <- function(rows) {
  rows[["trust"]] <- as.character(rows[["trust"]])
  rows
}
