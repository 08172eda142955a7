# Descriptions of commands for clients: MSC4391, "Simplified in-room bot commands", with its
# unstable names.

description_type <- "org.matrix.msc4391.command_description"
invocation_key <- "org.matrix.msc4391.command"

# Puts the descriptions where they are missing or different. A room that does not let the
# bot is left alone.
describe_commands <- function(bot, room_ids = NULL) {
  if (!bot[["describe"]]) {
    return(invisible())
  }
  client <- bot[["client"]]
  if (is.null(room_ids)) {
    rooms <- core(machine_rooms(machine_of(client)))
    room_ids <- rooms[["room_id"]][rooms[["membership"]] == "join"]
  }
  only <- bot[["state"]][["rooms"]]
  if (!is.null(only)) {
    room_ids <- intersect(room_ids, only)
  }
  rlang::local_options(mxcrypt.max_tries = 1)
  for (room_id in room_ids) {
    failure <- tryCatch(
      for (name in names(bot[["commands"]])) {
        describe_command(bot, room_id, name)
      },
      mx_error = function(condition) {
        log_bot(
          bot,
          "INFO",
          "commands are not described in ",
          room_id,
          ": ",
          conditionMessage(condition)
        )
        condition
      }
    )
    # The next start tries again.
    if (inherits(failure, "mx_error") && is_outage(failure)) {
      break
    }
  }
}

describe_command <- function(bot, room_id, name) {
  client <- bot[["client"]]
  # Others cannot overwrite it: the key depends on the sender.
  key <- core(sha256_base64(paste0(name, client[["user_id"]])))
  content <- command_description(name, bot[["commands"]][[name]])
  known <- room_state(client, room_id, description_type, key)
  if (!identical(as_json_text(known), as_json_text(content))) {
    path <- state_path(room_id, description_type, key)
    http_json(client, "PUT", path, content)
  }
}

command_description <- function(name, command) {
  parameters <- lapply(unname(command[["parameters"]]), function(parameter) {
    list(
      key = parameter[["name"]],
      schema = parameter_schema(parameter),
      optional = !parameter[["required"]]
    )
  })
  if (command[["rest"]]) {
    rest <- list(
      key = "...",
      schema = list(schema_type = "array", items = primitive_schema("string")),
      optional = TRUE
    )
    parameters <- c(parameters, list(rest))
  }
  help <- command[["help"]]
  description <- if (!is.null(help)) list("m.text" = list(list(body = help)))
  content <- list(
    command = name,
    parameters = parameters,
    description = description
  )
  Filter(Negate(is.null), content)
}

primitive_schema <- function(type) {
  list(schema_type = "primitive", type = type)
}

# Events cannot hold numbers that are not whole.
parameter_schema <- function(parameter) {
  choices <- parameter[["choices"]]
  if (!is.null(choices)) {
    literal <- function(value) {
      list(schema_type = "literal", literal_type = "string", value = value)
    }
    return(list(
      schema_type = "union",
      variants = lapply(choices, literal)
    ))
  }
  primitive_schema(switch(
    parameter[["type"]],
    integer = "integer",
    logical = "boolean",
    "string"
  ))
}

# A command as a client sends it that knows its description; NULL where there is none. The
# text beside it is for people.
invoked_command <- function(bot, event) {
  invocation <- json_at(event[["content"]], invocation_key)
  name <- json_at(invocation, "command")
  is_meant <- bot[["client"]][["user_id"]] %in% event[["mentions"]]
  if (!bot[["describe"]] || !is_meant || !is_string(name)) {
    return(NULL)
  }
  arguments <- as.list(json_at(invocation, "arguments"))
  words <- list(text = name, arguments = arguments)
  list(text = name, words = words, addressed = TRUE)
}

# The arguments for the function of a command, by those of an invocation.
bind_invocation <- function(command, arguments) {
  if (length(unlist(arguments)) > most_words) {
    command_abort("This has too many arguments: ", most_words, " are read.")
  }
  keys <- rlang::names2(arguments)
  named <- list()
  rest <- character()
  for (i in seq_along(arguments)) {
    key <- keys[[i]]
    texts <- vapply(as.list(arguments[[i]]), invoked_value, "")
    if (key == "..." && command[["rest"]]) {
      rest <- c(rest, texts)
    } else if (!key %in% names(command[["parameters"]])) {
      command_abort("There is no argument `", shown_text(key, 40L), "`.")
    } else if (length(texts) != 1L) {
      command_abort("`", key, "` must be one value.")
    } else {
      named[[key]] <- texts[[1]]
    }
  }
  parse_arguments(command[["parameters"]], named, as.list(rest))
}

invoked_value <- function(value) {
  if (is.logical(value) && length(value) == 1L && !is.na(value)) {
    tolower(as.character(value))
  } else if (is.numeric(value) && length(value) == 1L) {
    format(value, scientific = FALSE, digits = 15L)
  } else if (is_string(value)) {
    value
  } else {
    command_abort("An argument is neither text nor a number.")
  }
}
