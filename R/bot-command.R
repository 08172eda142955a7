# Commands of a bot: an R function, what its arguments are, and what `help` says of it.

#' A command of a bot
#'
#' Describes a command for [mx_bot()]. A function alone is a command, too:
#' `mx_command()` adds a help text, types or permissions.
#'
#' @section Arguments:
#' The words after the name of a command are the arguments of the function, in their order or
#' by name: `!rows 5`, `!rows n=5`, `!rows --n 5` and `!rows --n=5` are the same. Quotes
#' keep words together, as in a shell: `!find "two words"`. Typographic quotes,
#' which phones type, are quotes, too. After `--` there are no names. Words are never evaluated.
#'
#' The default of an argument tells its type: whole numbers (`10L`), numbers, `TRUE` or
#' `FALSE` (for which `--name` alone means `TRUE`), dates, and text. A vector of several
#' strings are the values that the argument may have; the first one is its default.
#' An argument without a default must be given; it is text unless `types` says more.
#' `...` takes all further words. Other defaults, such as `NULL`, make an optional text. Defaults
#' are computed when the command is made to find out their type.
#'
#' The bot fills in arguments of the name `event` (the event, as in [mx_listen()]),
#' `client` and `bot`. Senders cannot set them.
#'
#' An argument that does not fit is answered with a sentence and the usage, and the
#' function is not called. A text may still be anything that somebody can type: do
#' not paste it into code, SQL, paths or shell commands.
#'
#' @param fun A function.
#' @param help What the command does, in a line.
#' @param types Types of arguments by name, where defaults do not tell them: `"character"`,
#'   `"integer"`, `"numeric"`, `"logical"`, `"Date"`, or a function of the text that returns
#'   the value. The message of its error is shown to the sender.
#' @param allow Who may use the command, in addition to what the bot allows: see
#'   [mx_bot()].
#' @return An object of class `mx_command`.
#' @section Errors:
#' `mx_error_argument` if `fun` or `types` cannot be used.
#' @family bots
#' @examples
#' mx_command(function(n = 10L, table = c("cars", "iris")) {
#'   head(get(table, "package:datasets"), n)
#' }, help = "The first rows of a table")
#'
#' mx_command(function(room, at) NULL, types = list(at = as.Date))
#' @export
mx_command <- function(fun, help = NULL, types = NULL, allow = NULL) {
  new_command(
    check_function(fun),
    check_string(help, null = TRUE),
    check_types(types, fun),
    check_allow(allow)
  )
}

filled_in <- c("event", "client", "bot")

new_command <- function(fun, help = NULL, types = list(), allow = NULL) {
  arguments <- as.list(formals(args(fun)))
  names <- names(arguments)
  settable <- setdiff(names, c("...", filled_in))
  parameters <- lapply(settable, function(name) {
    parameter_of(name, arguments[[name]], types[[name]], environment(fun))
  })
  names(parameters) <- settable
  # What stands behind `...` is given by name only, in R as here.
  dots <- match("...", names, nomatch = length(names) + 1L)
  structure(
    list(
      fun = fun,
      help = help,
      allow = allow,
      parameters = parameters,
      positional = intersect(utils::head(names, dots - 1L), settable),
      rest = "..." %in% names,
      filled_in = intersect(names, filled_in)
    ),
    class = "mx_command"
  )
}

# An argument of a command. Its type is the declared one, or that of its default.
parameter_of <- function(name, default, type, env) {
  required <- rlang::is_missing(default)
  value <- NULL
  if (!required) {
    # One that needs other arguments has no type.
    value <- tryCatch(
      eval(default, new.env(parent = env %||% baseenv())),
      error = function(condition) NULL
    )
  }
  found <- if (is.function(type)) "character" else type
  list(
    name = name,
    required = required,
    default = value,
    type = found %||% type_of(value),
    parse = if (is.function(type)) type,
    choices = if (is.null(type) && is.character(value) && length(value) > 1L) {
      value
    }
  )
}

type_of <- function(value) {
  if (inherits(value, "Date")) {
    "Date"
  } else if (is.object(value)) {
    "character"
  } else if (is.logical(value)) {
    "logical"
  } else if (is.integer(value)) {
    "integer"
  } else if (is.numeric(value)) {
    "numeric"
  } else {
    "character"
  }
}

check_types <- function(types, fun, call = caller_env()) {
  known <- names(argument_types)
  is_type <- function(x) is.function(x) || (is_string(x) && x %in% known)
  is_vector <- is.null(types) || is.character(types) || is_plain_list(types)
  if (!is_vector || !all(vapply(types, is_type, NA))) {
    argument_abort(
      "types",
      paste0(
        "functions, or of these: ",
        paste0("\"", known, "\"", collapse = ", ")
      ),
      call
    )
  }
  settable <- setdiff(names(formals(args(fun))), c("...", filled_in))
  if (!all(rlang::names2(types) %in% settable)) {
    argument_abort("types", "named by arguments of `fun`", call)
  }
  as.list(types)
}

# A list of commands by their names, and `help`.
check_commands <- function(commands, call = caller_env()) {
  if (!is_plain_list(commands) || length(commands) == 0L) {
    argument_abort(
      "commands",
      "a list of functions, like `list(status = function() \"well\")`",
      call
    )
  }
  names <- rlang::names2(commands)
  is_name <- grepl("^[^[:space:][:cntrl:]\"'\\\\=]{1,50}$", names)
  if (!all(is_name) || anyDuplicated(names) > 0L) {
    argument_abort(
      "commands",
      "named, each by a word of its own",
      call
    )
  }
  is_command <- function(x) is.function(x) || inherits(x, "mx_command")
  is_usable <- vapply(commands, is_command, NA)
  if (!all(is_usable)) {
    name <- names[!is_usable][[1]]
    found <- paste0(name, " = <", class(commands[[name]])[[1]], ">")
    argument_abort(
      "commands",
      "functions, or made by mx_command()",
      call,
      found
    )
  }
  commands <- lapply(commands, function(x) {
    if (is.function(x)) new_command(x) else x
  })
  if (is.null(commands[["help"]])) {
    commands[["help"]] <- new_command(help_answer, "What this bot can do")
  }
  commands
}

# The command that somebody means by a name: phones begin a line with a capital.
command_named <- function(bot, name) {
  names <- names(bot[["commands"]])
  if (name %in% names) {
    return(name)
  }
  found <- names[lower_case(names) == lower_case(name)]
  if (length(found) == 1L) found
}

# Usage ------------------------------------------------------------------------

usage <- function(bot, name) {
  command <- bot[["commands"]][[name]]
  parts <- vapply(command[["parameters"]], parameter_usage, "")
  paste(
    c(
      paste0(call_sign(bot), name),
      parts,
      if (command[["rest"]]) "[...]"
    ),
    collapse = " "
  )
}

# What a sender writes in front of a command.
call_sign <- function(bot) {
  bot[["prefix"]] %||% paste0(bot[["client"]][["user_id"]], " ")
}

parameter_usage <- function(parameter) {
  name <- parameter[["name"]]
  if (parameter[["required"]]) {
    return(paste0("<", name, ">"))
  }
  shown <- shown_default(parameter[["default"]], parameter[["choices"]])
  paste0("[", name, if (!is.null(shown)) paste0("=", shown), "]")
}

shown_default <- function(default, choices) {
  if (!is.null(choices)) {
    return(paste(choices, collapse = "|"))
  }
  is_value <- is.atomic(default) && length(default) == 1L && !is.na(default)
  if (!is_value || identical(default, "")) {
    return(NULL)
  }
  if (is.logical(default)) {
    return(if (default) "yes" else "no")
  }
  if (is.character(default)) paste0("\"", default, "\"") else format(default)
}

# `help`, and `help <command>`: of the commands that the sender may use.
help_answer <- function(command = "", bot, event) {
  may_use <- function(name) {
    is_allowed(bot, bot[["commands"]][[name]][["allow"]], event)
  }
  names <- Filter(may_use, names(bot[["commands"]]))
  if (nzchar(command)) {
    prefix <- string_or_empty(bot[["prefix"]])
    if (nzchar(prefix) && startsWith(command, prefix)) {
      command <- substr(command, nchar(prefix) + 1L, nchar(command))
    }
    found <- intersect(command_named(bot, command), names)
    if (length(found) == 0L) {
      command_abort("There is no command `", shown_text(command, 40L), "`.")
    }
    names <- found
  }
  usages <- vapply(names, function(name) usage(bot, name), "")
  texts <- vapply(
    names,
    function(name) string_or_empty(bot[["commands"]][[name]][["help"]]),
    ""
  )
  dash <- ifelse(nzchar(texts), " \u2013 ", "")
  items <- paste0(
    "<li><code>",
    escape_html(usages),
    "</code>",
    dash,
    escape_html(texts),
    "</li>",
    collapse = ""
  )
  mx_message(paste0(usages, dash, texts), paste0("<ul>", items, "</ul>"))
}

#' @export
print.mx_command <- function(x, ...) {
  shown <- usage(list(commands = list(command = x), prefix = ""), "command")
  help <- if (!is.null(x[["help"]])) shorten(x[["help"]], 70L)
  print_lines(c(paste("<mx_command>", shown), help))
  invisible(x)
}
