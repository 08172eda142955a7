# The words of a command, and their types. What somebody wrote is only ever compared and
# converted, never evaluated, and what does not fit is a sentence for its sender.

# A sentence for the sender of a command.
command_abort <- function(...) {
  mx_abort(paste0(...), "mx_error_command", call = NULL)
}

most_command_characters <- 4000L
most_words <- 100L

# By code points, which are the same in every locale. Phones type typographic quotes,
# spaces and dashes.
word_spaces <- c(
  9:13,
  0x20,
  0x85,
  0xa0,
  0x1680,
  0x2000:0x200a,
  0x2028,
  0x2029,
  0x202f,
  0x205f,
  0x3000
)
curly_double <- 0x201c:0x201f
curly_single <- 0x2018:0x201b
long_dashes <- c(0x2013, 0x2014)
backslash <- 0x5c

# Splits a line as a shell does, without anything that a shell would replace. A single
# quote inside of a word is an apostrophe. Returns the words, and how many characters of
# each stand before its first quote or backslash: an option must be written without.
split_words <- function(line) {
  codes <- utf8ToInt(line)
  if (length(codes) > most_command_characters) {
    command_abort(
      "This is too long: a command may have ",
      format_count(most_command_characters),
      " characters."
    )
  }
  reader <- new.env(parent = emptyenv())
  i <- 1L
  while (i <= length(codes)) {
    step <- if (is.null(reader[["closes"]])) read_plain else read_quoted
    following <- if (i < length(codes)) codes[[i + 1L]]
    i <- i + step(reader, codes[[i]], following)
  }
  if (!is.null(reader[["closes"]])) {
    command_abort("A quotation mark is not closed.")
  }
  end_word(reader)
  words <- reader[["words"]]
  if (length(words) > most_words) {
    command_abort("This has too many words: ", most_words, " are read.")
  }
  list(
    text = vapply(words, function(word) intToUtf8(word[["codes"]]), ""),
    plain = vapply(words, function(word) word[["plain"]], 0L)
  )
}

# Each returns how many characters it has read. The word that is being read is NULL
# between words.
read_plain <- function(reader, code, following) {
  word <- reader[["word"]]
  if (code %in% word_spaces) {
    end_word(reader)
    return(1L)
  }
  begins <- is.null(word) || isTRUE(word[length(word)] == 0x3d)
  closes <- quote_opened_by(code, begins)
  escapes <- code == backslash && !is.null(following)
  if (is.null(closes) && !escapes) {
    reader[["word"]] <- c(word, code)
    return(1L)
  }
  reader[["plain"]] <- reader[["plain"]] %||% length(word)
  reader[["closes"]] <- closes
  # "" is a word.
  reader[["word"]] <- c(integer(), word, if (escapes) following)
  1L + escapes
}

read_quoted <- function(reader, code, following) {
  closes <- reader[["closes"]]
  if (code %in% closes) {
    reader[["closes"]] <- NULL
    return(1L)
  }
  escapes <- code == backslash &&
    !0x27 %in% closes &&
    any(following %in% c(closes, backslash))
  reader[["word"]] <- c(reader[["word"]], if (escapes) following else code)
  1L + escapes
}

end_word <- function(reader) {
  word <- reader[["word"]]
  if (!is.null(word)) {
    read <- list(codes = word, plain = reader[["plain"]] %||% length(word))
    reader[["words"]] <- c(reader[["words"]], list(read))
  }
  reader[["word"]] <- NULL
  reader[["plain"]] <- NULL
}

# What closes the quote that `code` opens, or NULL where it opens none.
quote_opened_by <- function(code, begins) {
  if (code == 0x22) {
    0x22
  } else if (code %in% curly_double) {
    curly_double
  } else if (!begins) {
    NULL
  } else if (code == 0x27) {
    0x27
  } else if (code %in% curly_single) {
    curly_single
  }
}

# The arguments for the function of a command, by the words of its sender.
bind_words <- function(command, words) {
  sorted <- sort_words(command, words)
  parameters <- command[["parameters"]]
  given <- sorted[["named"]]
  positional <- sorted[["positional"]]
  free <- setdiff(command[["positional"]], names(given))
  n <- min(length(free), length(positional))
  given[free[seq_len(n)]] <- positional[seq_len(n)]
  rest <- positional[seq_along(positional) > n]
  if (length(rest) > 0L && !command[["rest"]]) {
    most <- length(command[["positional"]])
    command_abort(
      if (most == 0L) {
        "No arguments are taken."
      } else {
        paste0("Too many arguments: at most ", most, " are taken.")
      }
    )
  }
  parse_arguments(parameters, given, rest)
}

# Which words are options with their values, and which are not.
sort_words <- function(command, words) {
  texts <- words[["text"]]
  named <- list()
  positional <- character()
  i <- 1L
  while (i <= length(texts)) {
    option <- read_option(command, texts[[i]], words[["plain"]][[i]])
    i <- i + 1L
    if (identical(option[["name"]], "")) {
      positional <- c(positional, texts[seq_along(texts) >= i])
      break
    }
    if (is.null(option)) {
      positional <- c(positional, texts[[i - 1L]])
      next
    }
    name <- option[["name"]]
    value <- option[["value"]]
    if (is.null(value)) {
      is_switch <- command[["parameters"]][[name]][["type"]] == "logical"
      if (!is_switch && i > length(texts)) {
        command_abort("`--", name, "` has no value.")
      }
      value <- if (is_switch) "true" else texts[[i]]
      i <- i + !is_switch
    }
    if (!is.null(named[[name]])) {
      command_abort("`", name, "` is given twice.")
    }
    named[[name]] <- value
  }
  list(named = named, positional = as.list(positional))
}

# What is not given has its default; the first of several choices is theirs.
parse_arguments <- function(parameters, given, rest) {
  values <- Map(parse_argument, parameters[names(given)], given)
  names(values) <- names(given)
  for (parameter in parameters[setdiff(names(parameters), names(values))]) {
    name <- parameter[["name"]]
    if (parameter[["required"]]) {
      command_abort("`", name, "` is missing.")
    }
    if (!is.null(parameter[["choices"]])) {
      values[[name]] <- list(value = parameter[["choices"]][[1]])
    }
  }
  c(lapply(values, `[[`, "value"), unname(rest))
}

# `name=value`, `--name=value` or `--name`, of a name that the command has; NULL for any
# other word. `--` ends the options.
read_option <- function(command, text, plain) {
  option <- option_parts(text, plain)
  if (is.null(option) || identical(option[["name"]], "")) {
    return(option)
  }
  key <- option[["name"]]
  name <- named_parameter(command, key)
  if (!is.null(name)) {
    option[["name"]] <- name
    return(option)
  }
  if (startsWith(text, "--") && !command[["rest"]]) {
    command_abort("There is no option `--", shown_text(key, 40L), "`.")
  }
}

# The name is plain text, and the value whatever is behind it.
option_parts <- function(text, plain) {
  dashes <- dashes_before(text)
  rest <- substr(text, dashes + 1L, nchar(text))
  if (identical(text, "--") && plain == 2L) {
    return(list(name = ""))
  }
  at <- regexpr("=", rest, fixed = TRUE)
  has_value <- at > 1L && dashes + at <= plain
  if (has_value) {
    value <- substr(rest, at + 1L, nchar(rest))
    return(list(name = substr(rest, 1L, at - 1L), value = value))
  }
  if (dashes > 0L && nzchar(rest) && nchar(text) <= plain) {
    list(name = rest)
  }
}

# How many characters of an option are dashes. Phones make one long dash of two.
dashes_before <- function(text) {
  first <- utf8ToInt(substr(text, 1L, 1L))
  if (any(first %in% long_dashes)) {
    1L
  } else if (startsWith(text, "--")) {
    2L
  } else {
    0L
  }
}

# `max-rows` is how a shell writes `max_rows` or `max.rows`.
named_parameter <- function(command, key) {
  names <- names(command[["parameters"]])
  if (key %in% names) {
    return(key)
  }
  found <- names[chartr("_.", "--", names) == key]
  if (length(found) == 1L) found
}

# The value of an argument, wrapped: it may be NULL.
parse_argument <- function(parameter, text) {
  choices <- parameter[["choices"]]
  wanted <- NULL
  value <- if (!is.null(choices)) {
    wanted <- paste("one of", paste(choices, collapse = ", "))
    found <- choices[choices == text]
    if (length(found) == 0L) {
      found <- choices[lower_case(choices) == lower_case(text)]
    }
    if (length(found) == 1L) found
  } else if (is.function(parameter[["parse"]])) {
    tryCatch(
      return(list(value = parameter[["parse"]](text))),
      error = function(condition) {
        command_abort(
          "`",
          parameter[["name"]],
          "`: ",
          shown_text(error_text(condition))
        )
      }
    )
  } else {
    type <- argument_types[[parameter[["type"]]]]
    wanted <- type[["wanted"]]
    type[["parse"]](text)
  }
  if (is.null(value)) {
    command_abort(
      "`",
      parameter[["name"]],
      "` must be ",
      wanted,
      ", and not \u201c",
      shown_text(text, 40L),
      "\u201d."
    )
  }
  list(value = value)
}

# How each type is read from text: NULL where it is none.
argument_types <- list(
  character = list(wanted = "text", parse = function(text) text),
  integer = list(
    wanted = "a whole number",
    parse = function(text) {
      if (grepl("^[+-]?[0-9]{1,10}$", text)) {
        number <- as.numeric(text)
        if (abs(number) <= .Machine[["integer.max"]]) as.integer(number)
      }
    }
  ),
  numeric = list(
    wanted = "a number",
    parse = function(text) {
      pattern <- "^[+-]?([0-9]{1,30}([.][0-9]{0,30})?|[.][0-9]{1,30})([eE][+-]?[0-9]{1,3})?$"
      if (grepl(pattern, text)) {
        number <- as.numeric(text)
        if (is.finite(number)) number
      }
    }
  ),
  logical = list(
    wanted = "yes or no",
    parse = function(text) {
      if (lower_case(text) %in% c("true", "yes", "on", "t", "y", "1")) {
        TRUE
      } else if (lower_case(text) %in% c("false", "no", "off", "f", "n", "0")) {
        FALSE
      }
    }
  ),
  Date = list(
    wanted = "a date like 2026-12-31",
    parse = function(text) {
      if (grepl("^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$", text)) {
        date <- as.Date(text, format = "%Y-%m-%d")
        if (!is.na(date)) date
      }
    }
  )
)

# Text of strangers in a log or an answer: on one line, without what could steer a
# terminal or turn the direction of writing, and without braces, which formatters of
# loggers such as that of 'logger' evaluate.
shown_text <- function(text, most = 500L) {
  text <- gsub(
    "[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]",
    " ",
    as_utf8(text),
    perl = TRUE
  )
  text <- gsub("{", "(", text, fixed = TRUE)
  shortened(gsub("}", ")", text, fixed = TRUE), most)
}
