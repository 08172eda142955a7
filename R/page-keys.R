# The view of key files: export to a file that is encrypted with a passphrase, and import
# of one.

keys_view <- function() {
  tags <- shiny::tags
  page_view(
    "keys",
    "Export and import",
    page_card(
      "Export room keys",
      tags[["p"]](
        "Writes the keys of messages that this device can read to a file. Another ",
        "client can import it, and then read them too."
      ),
      tags[["p"]](page_mark(
        "warn",
        paste(
          "Anyone who has the file and its passphrase can read those messages. Keep",
          "it secure."
        )
      )),
      page_form(
        "keys_export",
        page_new_passphrase("Passphrase of the file"),
        page_choice(
          "which",
          "Rooms",
          c(all = "All rooms", some = "Only these")
        ),
        page_place("keys_rooms"),
        button = "Export",
        busy = "Exporting keys\u2026"
      ),
      page_place("keys_file")
    ),
    page_card(
      "Import room keys",
      tags[["p"]](
        "Brings keys that were exported from this or another client, such as Element, ",
        "to this device. It can then read the messages that the other one could."
      ),
      page_form(
        "keys_import",
        page_file("keys_upload", "File to import"),
        page_field(
          "passphrase",
          "Passphrase of the file",
          type = "password",
          hint = "The one that was chosen when it was exported."
        ),
        button = "Import",
        busy = "Importing keys\u2026"
      )
    )
  )
}

keys_server <- function(page) {
  client <- page[["client"]]
  uploaded <- receive_file(page, "keys_upload")
  page_output(page, "keys_rooms", function() {
    page[["changed"]]()
    room_boxes(known_rooms(client))
  })
  serve_export(page, client)
  on_form(page, "keys_import", function(fields) {
    passphrase <- field_text(fields, "passphrase")
    file <- uploaded(fields)
    if (is.null(file)) {
      mx_abort(
        "Choose a file, and wait until it is here.",
        "mx_error_key_export"
      )
    }
    if (is.null(passphrase)) {
      mx_abort("Enter the passphrase of the file.", "mx_error_passphrase")
    }
    in_parts(
      import_parts(machine_of(client), file, passphrase),
      "Importing keys\u2026",
      imported_html
    )
  })
}

serve_export <- function(page, client) {
  made <- shiny::reactiveVal(NULL)
  dir <- session_dir(page)
  on_form(page, "keys_export", function(fields) {
    passphrase <- chosen_passphrase(fields)
    rooms <- if (identical(fields[["which"]], "some")) chosen_rooms(fields)
    name <- export_file_name(client)
    path <- file.path(dir, name)
    machine <- machine_of(client)
    in_parts(
      export_parts(machine, path, passphrase, rooms, overwrite = TRUE),
      "Exporting keys\u2026",
      function(count) {
        made(list(name = name, path = path, count = count))
        exported_html(count, name, passphrase)
      }
    )
  })
  page_output(page, "keys_file", function() {
    if (!is.null(made())) {
      export_link(made()[["name"]])
    }
  })
  page[["output"]][["keys_save"]] <- shiny::downloadHandler(
    filename = function() made()[["name"]],
    content = function(file) {
      file.copy(made()[["path"]], file)
      Sys.chmod(file, "0600", use_umask = FALSE)
    },
    contentType = "text/plain"
  )
}

# Element's name for it, with ours in front.
export_file_name <- function(client) {
  paste0(
    "mxcrypt-megolm-export-",
    file_part(client[["user_id"]]),
    "-",
    format(Sys.Date()),
    ".txt"
  )
}

exported_html <- function(count, name, passphrase) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["p"]](page_mark(
      if (count > 0L) "good" else "warn",
      paste0(plural(count, "key"), " exported.")
    )),
    if (nchar(passphrase) < least_passphrase) {
      tags[["p"]](page_mark(
        "warn",
        paste(
          "The passphrase is short: whoever has the file can try many. Better export",
          "again with a longer one."
        )
      ))
    }
  )
}

export_link <- function(name) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["p"]](
      # Shiny writes the address.
      tags[["a"]](
        id = "keys_save",
        class = "mx-plain shiny-download-link",
        href = "",
        download = NA,
        "Save the file"
      )
    ),
    tags[["p"]](tags[["code"]](name))
  )
}

# Rooms --------------------------------------------------------------------------

# The rooms that the store knows, with their ids as names; no request is made.
known_rooms <- function(client) {
  rooms <- data.frame(core(machine_rooms(machine_of(client))))
  titles <- room_titles(rooms[["name"]], rooms[["room_id"]])
  rooms <- stats::setNames(titles, rooms[["room_id"]])
  rooms[order(lower_case(rooms))]
}

# Names are chosen by others: of two that are alike, and of none, the id is shown too.
room_titles <- function(names, ids) {
  titles <- plain_line(names, 100L)
  is_known <- !is.na(titles) & nzchar(titles)
  # Spaces and characters without a shape make no difference to a reader.
  seen <- gsub("[\\p{Cf}\\s]", "", titles, perl = TRUE)
  is_alike <- is_known & seen %in% seen[duplicated(seen)]
  ids <- plain_line(ids, 100L)
  titles[is_alike] <- paste0(titles[is_alike], " (", ids[is_alike], ")")
  titles[!is_known] <- ids[!is_known]
  titles
}

room_boxes <- function(rooms) {
  tags <- shiny::tags
  if (length(rooms) == 0L) {
    return(NULL)
  }
  tags[["fieldset"]](
    class = "mx-choice mx-list",
    tags[["legend"]]("Rooms to export"),
    unname(Map(
      function(id, title) page_checkbox(paste0("room:", id), title),
      names(rooms),
      rooms
    ))
  )
}

chosen_rooms <- function(fields) {
  is_room <- startsWith(names(fields), "room:")
  is_chosen <- is_room & vapply(fields, isTRUE, NA)
  rooms <- sub("^room:", "", names(fields)[is_chosen])
  if (length(rooms) == 0L) {
    mx_abort("Choose at least one room.", "mx_error_key_export")
  }
  rooms
}

# Import -------------------------------------------------------------------------

imported_html <- function(sessions) {
  tags <- shiny::tags
  status <- sessions[["status"]]
  count <- function(of) sum(status == of)
  if (nrow(sessions) == 0L) {
    return(tags[["p"]](page_mark("warn", "The file holds no key.")))
  }
  shiny::tagList(
    tags[["p"]](page_mark(
      if (count("refused") < nrow(sessions)) "good" else "bad",
      paste0(plural(count("imported"), "key"), " imported.")
    )),
    if (count("known") > 0L) {
      tags[["p"]](plural(
        count("known"),
        "key was",
        "keys were",
        "known already."
      ))
    },
    reasons_html(sessions[["reason"]], "refused"),
    if (count("imported") > 0L) {
      tags[["p"]](
        "Messages that waited for them can be read now. ",
        view_link("unreadable", "See what is still unreadable.")
      )
    }
  )
}
