#' @useDynLib mxcrypt, .registration = TRUE
#' @importFrom rlang abort caller_env warn inform
#' @keywords internal
"_PACKAGE"

# What the package remembers while it is loaded: open stores by directory,
# tokens by configuration file, in-process homeservers by address, logs with lines that
# are not posted yet.
the <- new.env(parent = emptyenv())
the[["stores"]] <- list()
the[["tokens"]] <- list()
the[["homeservers"]] <- list()
the[["logs"]] <- list()
