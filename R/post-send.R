# Sends messages in order. `thread` is as in mx_post().
send_messages <- function(
  client,
  room,
  messages,
  thread,
  mentions,
  reply_to,
  transaction_id = NULL,
  help = "Post less at once, or a file with mx_file().",
  call = caller_env()
) {
  thread_id <- if (is.character(thread)) {
    event_id_of(client, room, thread, "thread", call)
  }
  reply_to <- event_id_of(client, room, reply_to, "reply_to", call)
  first <- relation_to(reply_to, thread_id)
  contents <- Map(
    message_content,
    messages,
    # Nobody wants a notification for each of ten plots.
    c(list(mentions), rep(list(character()), length(messages) - 1L)),
    list(first)[rep(1L, length(messages))]
  )
  check_message_sizes(client, room, messages, contents, help, call)
  and_then(resolve_room(client, room, call = call), function(room_id) {
    machine <- machine_of(client, call = call)
    staging <- message_staging(client, machine, room_id, messages, call)
    and_then(staging, function(staging) {
      send <- function(prepared, relations) {
        numbers <- core(
          queue_prepared(machine, room_id, prepared, relations, transaction_id),
          call
        )
        see_them_sent(
          client,
          machine,
          room_id,
          numbers,
          call,
          tell_unsigned = TRUE
        )
      }
      with_cleanup(
        {
          prepared <- Map(
            function(message, content) {
              staged_message(staging, message, content)
            },
            messages,
            contents
          )
          send_in_order(send, prepared, first, thread, thread_id)
        },
        staging[["clean"]]
      )
    })
  })
}

staged_message <- function(staging, message, content) {
  file <- message[["file"]]
  if (is.null(file)) {
    return(list(content = content))
  }
  file_message(staging, file, content, made_thumbnail(file))
}

# Sends messages, and returns their ids: at once, or the first one before the others,
# whose thread begins with it. `first` is the relation of the first message.
send_in_order <- function(send, prepared, first, thread, thread_id) {
  rest <- length(prepared) - 1L
  if (!isTRUE(thread) || rest == 0L) {
    others <- rep(list(relation_to(NULL, thread_id)), rest)
    return(send(prepared, c(list(first), others)))
  }
  root <- telling_of_others(send(utils::head(prepared, 1L), list(first)), rest)
  and_then(root, function(root) {
    others <- rep(list(relation_to(NULL, root[[1]])), rest)
    and_then(send(prepared[-1], others), function(ids) c(root, ids))
  })
}

# One call of the core, so that all are queued or none.
queue_prepared <- function(
  machine,
  room_id,
  prepared,
  relations,
  transaction_id
) {
  contents <- Map(
    function(message, relation) {
      content <- message[["content"]]
      content[["m.relates_to"]] <- relation
      as_json_text(content)
    },
    prepared,
    relations
  )
  uploads <- vapply(
    prepared,
    function(message) {
      uploads <- message[["uploads"]]
      if (is.null(uploads)) "[]" else as_json_text(uploads)
    },
    ""
  )
  contents <- unlist(contents, use.names = FALSE)
  machine_send_files(machine, room_id, contents, uploads, transaction_id)
}

# Where the beginning of a thread is not sent, the rest has nowhere to go.
telling_of_others <- function(code, n) {
  on_failure(code, function(condition) {
    line <- c(
      x = paste(
        plural(n, "other message was", "other messages were"),
        "to follow in its thread. They are not sent, and do not wait."
      )
    )
    if (inherits(condition, "rlang_error")) {
      condition[["body"]] <- c(condition[["body"]], line)
    } else {
      condition[["message"]] <- paste(
        c(condition[["message"]], rlang::format_error_bullets(line)),
        collapse = "\n"
      )
    }
    raise(condition)
  })
}

# What a file's event has beside its words: keys, hash and address.
file_event_bytes <- 900L

check_message_sizes <- function(
  client,
  room,
  messages,
  contents,
  help,
  call
) {
  texts <- Map(
    function(message, content) {
      if (!is.null(message[["file"]])) {
        content[["info"]] <- strrep("x", file_event_bytes)
      }
      as_json_text(content)
    },
    messages,
    contents
  )
  check_sizes(
    client,
    room,
    "m.room.message",
    unlist(texts, use.names = FALSE),
    help = help,
    call = call
  )
}

# Where files are encrypted or copied to. Without files, the server is not asked about
# any.
message_staging <- function(client, machine, room_id, messages, call) {
  files <- Filter(Negate(is.null), lapply(messages, `[[`, "file"))
  if (length(files) == 0L) {
    return(list(clean = function() NULL))
  }
  and_then(check_upload_sizes(client, files, call), function(fits) {
    and_then(room_is_encrypted(client, room_id), function(encrypted) {
      file_staging(client, machine, encrypted, call)
    })
  })
}
