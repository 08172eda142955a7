#' Check a store
#'
#' Reads every row of a store and checks that nothing is damaged. Nothing is changed, and
#' other processes can use the store meanwhile.
#'
#' @param client A client, or the directory of a store, or its address
#'   ([mxcrypt_postgresql]).
#' @details
#' A copy from [mx_store_backup()] can be checked as well, if its key is found: see
#' [mxcrypt_secrets].
#'
#' These must hold: each row opens under the store key, in its table and under its key;
#' the columns that are not sealed agree with it; a number is not above the counter that it
#' was taken from, which would give it out again; and the files that a row needs are beside
#' the store, and have their size. The tags of rows that are not sealed are compared where
#' they can be computed: what index of a session stands for which event is known only
#' when the event comes again. SQLite checks its file, too.
#'
#' A row that was deleted, or put back as it once was, is mostly not noticed: nothing in the store
#' says that it should be there. An empty store is.
#'
#' A damaged store should not be used on. Restore a copy ([mx_store_restore()]), or sign in
#' as a new device.
#' @return A data frame of class `mx_store_check` with a row per table: `table`, `rows`,
#'   `damaged`, and `damage`, a list of data frames with the keys of damaged rows (`row`) and
#'   what is wrong (`reason`), of at most 100 rows each. The table `database` stands for what
#'   SQLite reports. No secret is in it; keys of rows can name rooms, users and devices.
#' @section Errors:
#' `mx_error_store`, `mx_error_store_locked`, `mx_error_store_key_missing`,
#' `mx_error_store_key_wrong`: see [mxcrypt_conditions].
#' @family the store
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_store_check(alice)
#' @export
mx_store_check <- function(client) {
  dir <- existing_store(client)
  key <- store_key(dir, caller_env())
  found <- core(store_check(dir, key, beside_store(dir)))
  table <- found[["table"]]
  damage <- data.frame(row = found[["row"]], reason = found[["reason"]])
  damage <- unname(split(damage, factor(found[["damaged_table"]], table)))
  checked <- data.frame(
    table = table,
    rows = found[["rows"]],
    damaged = found[["damaged"]]
  )
  checked[["damage"]] <- lapply(damage, `rownames<-`, NULL)
  structure(checked, class = c("mx_store_check", "data.frame"))
}

#' @export
format.mx_store_check <- function(x, ...) {
  if (!all(c("table", "rows", "damaged", "damage") %in% names(x))) {
    return(NextMethod())
  }
  bad <- x[x[["damaged"]] > 0, ]
  summary <- paste0(
    "<mx_store_check> ",
    plural(sum(x[["rows"]]), "row", "rows"),
    ", ",
    if (nrow(bad) == 0L) {
      "all sound"
    } else {
      paste(sum(bad[["damaged"]]), "damaged")
    }
  )
  of_table <- function(i) {
    damage <- bad[["damage"]][[i]]
    shown <- utils::head(damage, 10L)
    left <- bad[["damaged"]][[i]] - nrow(shown)
    c(
      paste0(bad[["table"]][[i]], ": ", bad[["damaged"]][[i]], " damaged"),
      paste0(
        "  ",
        printable(shown[["row"]]),
        ifelse(nzchar(shown[["row"]]), ": ", ""),
        printable(shown[["reason"]])
      ),
      if (left > 0) paste("  and", left, "more")
    )
  }
  c(summary, unlist(lapply(seq_len(nrow(bad)), of_table)))
}

#' @export
print.mx_store_check <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' Give back space of a store
#'
#' Rewrites the file of a store without the space of what was deleted. What is deleted is
#' overwritten at once, but its space stays in the file for what comes later; call this
#' after much was deleted, for instance by [mx_archive()] with a shorter retention.
#'
#' @inheritParams mx_store_check
#' @details
#' It takes as much memory as the store has bytes. Other processes wait meanwhile. If one of
#' them is writing, it is waited for, 20 seconds at most.
#' @return The bytes of the store before and after, `c(before = , after = )`, invisibly; `NA`
#'   for a store in PostgreSQL, whose tables belong to others too.
#' @section Errors:
#' `mx_error_store_locked`, and those of opening a store: see [mxcrypt_conditions].
#' @family the store
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_store_vacuum(alice)
#' @export
mx_store_vacuum <- function(client) {
  dir <- existing_store(client)
  key <- store_key(dir, caller_env())
  size <- function() {
    files <- list.files(dir, "^crypto[.]sqlite", full.names = TRUE)
    sum(file.size(files), na.rm = TRUE)
  }
  before <- size()
  core(store_vacuum(dir, key, beside_store(dir)))
  if (is_address(dir)) {
    cli::cli_alert_success("The tables of the store were tidied.")
    return(invisible(c(before = NA_real_, after = NA_real_)))
  }
  after <- size()
  cli::cli_alert_success(
    "The store takes {size_text(after)} now. Before it took {size_text(before)}."
  )
  invisible(c(before = before, after = after))
}

# The directory of a store that is there, of a client or named.
existing_store <- function(
  client,
  arg = rlang::caller_arg(client),
  call = caller_env()
) {
  if (is_described(client, "mx_client", c("app", "path", "store_dir"))) {
    dir <- client[["store_dir"]]
  } else if (is_string(client)) {
    dir <- check_store_dir(client, arg, call = call)
  } else {
    wanted <- "a client, the directory of a store, or its address"
    argument_abort(arg, wanted, call)
  }
  if (!has_store(dir, call)) {
    mx_abort(
      paste0(
        "There is no store in ",
        if (is_address(dir)) dir else shown_path(dir),
        "."
      ),
      c("mx_error_store_missing", "mx_error_store"),
      call = call
    )
  }
  dir
}
