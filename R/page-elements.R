# What pages are made of: views, forms with their outcomes, facts, tables, marks. All text
# goes through htmltools, which escapes it; text of others goes through plain_line() first.

# Views ------------------------------------------------------------------------

# One of the parts of a page between which its menu changes.
page_view <- function(id, title, ...) {
  tags <- shiny::tags
  tags[["section"]](
    id = id,
    class = "mx-view",
    "aria-labelledby" = paste0(id, "-title"),
    hidden = NA,
    # The menu moves the focus here.
    tags[["h2"]](id = paste0(id, "-title"), tabindex = "-1", title),
    ...
  )
}

# `views` are titles with the ids of their views as names.
page_menu <- function(views) {
  tags <- shiny::tags
  item <- function(id, title) {
    tags[["li"]](tags[["a"]](href = paste0("#", id), title))
  }
  tags[["nav"]](
    class = "mx-menu",
    "aria-label" = "Views",
    tags[["ul"]](unname(Map(item, names(views), views)))
  )
}

# The part of a page below its header: what is wrong with the connection, the outcome of
# a form that is not there any more, and the rest.
page_main <- function(...) {
  tags <- shiny::tags
  tags[["main"]](
    class = "mx-main",
    tags[["p"]](
      id = "connection",
      class = "mx-alert shiny-text-output",
      role = "alert"
    ),
    tags[["div"]](class = "mx-notice", role = "status", tabindex = "-1"),
    ...
  )
}

# A card with a `key` gets the focus where show_view() leads to it, and keeps it when it
# is drawn again without what had the focus.
page_card <- function(title, ..., key = NULL) {
  tags <- shiny::tags
  tags[["div"]](
    class = "mx-card",
    "data-card" = key,
    tags[["h3"]](tabindex = if (!is.null(key)) "-1", title),
    ...
  )
}

# What is shown on demand. Its `id` keeps it open when it is drawn again.
page_details <- function(id, summary, ...) {
  tags <- shiny::tags
  tags[["details"]](
    id = id,
    class = "mx-details",
    tags[["summary"]](summary),
    ...
  )
}

# Text that a screen reader says and nobody sees.
unseen <- function(text) shiny::tags[["span"]](class = "mx-unseen", text)

# A word with a sign and a colour: `level` is good, warn, bad or plain.
page_mark <- function(level, text) {
  sign <- c(good = "\u2714", warn = "\u26a0", bad = "\u2716", plain = "")
  tags <- shiny::tags
  tags[["span"]](
    class = paste0("mx-sign mx-", level),
    tags[["span"]]("aria-hidden" = "true", sign[[level]]),
    text
  )
}

# Facts in pairs: `...` are named. One that is NULL is left out.
page_facts <- function(...) {
  tags <- shiny::tags
  facts <- list(...)
  facts <- facts[!vapply(facts, is.null, NA)]
  pair <- function(name, fact) {
    tags[["div"]](tags[["dt"]](name), tags[["dd"]](fact))
  }
  tags[["dl"]](class = "mx-facts", unname(Map(pair, names(facts), facts)))
}

# A table: `columns` are named lists or vectors of cells of the same length. The first
# column heads its row. On a phone each row becomes a card (page.css).
page_table <- function(caption, columns, empty = "There is none.") {
  tags <- shiny::tags
  rows <- length(columns[[1]])
  if (rows == 0L) {
    return(tags[["p"]](empty))
  }
  cell <- function(i, name) {
    content <- columns[[name]][[i]]
    if (name == names(columns)[[1]]) {
      tags[["th"]](scope = "row", content)
    } else {
      tags[["td"]]("data-name" = name, content)
    }
  }
  head <- lapply(names(columns), function(name) {
    tags[["th"]](scope = "col", name)
  })
  tags[["div"]](
    class = "mx-table",
    # What scrolls must be reached by the keyboard.
    tabindex = "0",
    role = "region",
    "aria-label" = caption,
    tags[["table"]](
      tags[["caption"]](class = "mx-unseen", caption),
      tags[["thead"]](tags[["tr"]](head)),
      tags[["tbody"]](lapply(seq_len(rows), function(i) {
        tags[["tr"]](lapply(names(columns), function(name) cell(i, name)))
      }))
    )
  )
}

# How much of something is done.
page_progress <- function(label, done, total) {
  tags <- shiny::tags
  tags[["label"]](
    class = "mx-progress",
    tags[["span"]](label),
    tags[["progress"]](value = done, max = max(total, 1))
  )
}

# A secret that was asked for, with buttons that copy it and save it as a file. Neither of
# them sends it anywhere.
page_secret <- function(id, text, file) {
  tags <- shiny::tags
  button <- function(label, ...) {
    tags[["button"]](type = "button", class = "mx-plain", ..., label)
  }
  tags[["div"]](
    class = "mx-secret",
    tags[["p"]](tags[["code"]](id = id, text)),
    tags[["div"]](
      class = "mx-row",
      button("Copy", "data-copy" = id),
      button("Save as file", "data-save" = id, "data-file" = file)
    ),
    tags[["p"]](class = "mx-copied", role = "status")
  )
}

# A link to another view.
view_link <- function(id, text) {
  shiny::tags[["a"]](href = paste0("#", id), .noWS = "outside", text)
}

# Forms ------------------------------------------------------------------------

# A form. What is in it is sent when its button is pressed, and not before; see on_form().
# `values` are sent with it. With `confirm`, a sentence that says what it costs, the person
# is asked first. With `picked`, the button says how many boxes are ticked: `none`, `one` and
# `many` are its labels.
page_form <- function(
  id,
  ...,
  button,
  values = list(),
  confirm = NULL,
  picked = NULL,
  danger = FALSE,
  plain = FALSE,
  busy = "Working\u2026"
) {
  tags <- shiny::tags
  tags[["form"]](
    class = "mx-form",
    "data-input" = id,
    "data-values" = if (length(values) > 0L) {
      jsonlite::toJSON(values, auto_unbox = TRUE)
    },
    "data-confirm" = confirm,
    "data-busy" = busy,
    autocomplete = "off",
    ...,
    # With a button of type `submit` in the page, Shiny holds back all inputs. page.js
    # presses it at Enter.
    tags[["button"]](
      type = "button",
      class = paste0(
        "mx-button",
        if (danger) " mx-danger",
        if (plain) " mx-quiet"
      ),
      "data-none" = picked[["none"]],
      "data-one" = picked[["one"]],
      "data-many" = picked[["many"]],
      button
    ),
    # What is read aloud when its text changes must be there before.
    tags[["div"]](class = "mx-outcome", role = "status")
  )
}

# A field of a form. `type` is that of HTML; `hint` is a sentence below it.
page_field <- function(
  name,
  label,
  type = "text",
  value = NULL,
  hint = NULL,
  ...
) {
  tags <- shiny::tags
  tags[["label"]](
    class = "mx-field",
    tags[["span"]](label),
    # With an id or a name, Shiny would send what is typed, letter by letter, and keep it.
    tags[["input"]](
      type = type,
      "data-field" = name,
      value = value,
      autocomplete = if (type == "password") "off",
      spellcheck = "false",
      ...
    ),
    if (!is.null(hint)) tags[["small"]](hint)
  )
}

# A passphrase that is chosen now is typed twice. Nothing else protects what it is for.
page_new_passphrase <- function(label) {
  tags <- shiny::tags
  field <- page_field(
    "new_passphrase",
    label,
    type = "password",
    hint = "Long: six words or more that nobody would guess.",
    "data-least" = least_passphrase
  )
  short <- tags[["small"]](
    class = "mx-short",
    hidden = NA,
    page_mark("warn", "Short: it can be guessed.")
  )
  shiny::tagList(
    htmltools::tagAppendChild(field, short),
    page_field("again", paste(label, "again"), type = "password")
  )
}

least_passphrase <- 16

chosen_passphrase <- function(fields) {
  chosen <- field_text(fields, "new_passphrase")
  if (is.null(chosen)) {
    mx_abort("Choose a passphrase.", "mx_error_passphrase")
  }
  if (!identical(chosen, field_text(fields, "again"))) {
    mx_abort(
      "The two passphrases differ. Nothing was done.",
      "mx_error_passphrase"
    )
  }
  chosen
}

page_checkbox <- function(name, label, value = FALSE) {
  tags <- shiny::tags
  tags[["label"]](
    class = "mx-check",
    tags[["input"]](
      type = "checkbox",
      "data-field" = name,
      checked = if (value) NA
    ),
    tags[["span"]](label)
  )
}

# `choices`: labels with the values as names.
page_choice <- function(name, legend, choices, selected = names(choices)[[1]]) {
  tags <- shiny::tags
  tags[["fieldset"]](
    class = "mx-choice",
    tags[["legend"]](legend),
    unname(Map(
      function(value, label) {
        tags[["label"]](
          class = "mx-check",
          tags[["input"]](
            type = "radio",
            name = name,
            "data-field" = name,
            value = value,
            checked = if (value == selected) NA
          ),
          tags[["span"]](label)
        )
      },
      names(choices),
      choices
    ))
  )
}

page_select <- function(name, label, choices, selected = NULL) {
  tags <- shiny::tags
  tags[["label"]](
    class = "mx-field",
    tags[["span"]](label),
    tags[["select"]](
      "data-field" = name,
      unname(Map(
        function(value, label) {
          tags[["option"]](
            value = value,
            selected = if (identical(value, selected)) NA,
            label
          )
        },
        names(choices),
        choices
      ))
    )
  )
}

# A file to give to R: page.js sends it as soon as it was chosen, see receive_file().
page_file <- function(id, label, accept = NULL) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["label"]](
      class = "mx-field",
      tags[["span"]](label),
      # Without an id, Shiny would upload it itself.
      tags[["input"]](
        "data-pieces" = id,
        "data-field" = id,
        type = "file",
        accept = accept
      )
    ),
    tags[["p"]](
      id = paste0(id, "_progress"),
      class = "mx-upload",
      role = "status"
    )
  )
}

# Actions ----------------------------------------------------------------------

# Leads to a view, and to a card of it.
show_view <- function(page, view, card = NULL) {
  send <- page[["session"]][["sendCustomMessage"]]
  send("mx-view", list(view = view, card = card))
}

# Runs `action` with the fields of a form when it was sent. What it returns is the outcome:
# a sentence, tags, or what in_parts() makes. An error is a sentence on the page; the R
# session goes on.
on_form <- function(page, id, action) {
  shiny::observeEvent(page[["input"]][[id]], {
    sent <- page[["input"]][[id]]
    form <- list(
      form = shiny::getDefaultReactiveDomain()[["ns"]](id),
      number = form_number(sent)
    )
    told <- with_told(action(form_fields(sent)))
    if (inherits(told[["outcome"]], "mx_in_parts")) {
      run_parts(page, form, told)
    } else {
      end_form(page, form, told)
    }
  })
}

end_form <- function(page, form, told) {
  send <- page[["session"]][["sendCustomMessage"]]
  form[["ok"]] <- told[["ok"]]
  form[["html"]] <- as.character(told_html(told))
  send("mx-outcome", form)
  # Other views show what it changed.
  page[["refresh"]]()
}

# Long work (see parts.R) as the outcome of a form: `label` says what is done meanwhile,
# and `finish` makes the outcome of the result.
in_parts <- function(parts, label, finish) {
  work <- list(parts = parts, label = label, finish = finish)
  structure(work, class = "mx_in_parts")
}

# Between two parts the page is served. Work ends with its page: what was done is in the
# store, and the rest is done when the button is pressed again.
run_parts <- function(page, form, told) {
  work <- told[["outcome"]]
  parts <- work[["parts"]]
  is_closed <- page[["session"]][["isClosed"]]
  send <- page[["session"]][["sendCustomMessage"]]
  tell <- function(done) {
    progress <- page_progress(work[["label"]], done, parts[["total"]])
    form[["html"]] <- as.character(progress)
    send("mx-progress", form)
  }
  step <- function() {
    if (is_closed()) {
      return(parts[["end"]]())
    }
    done <- with_told(parts[["next_part"]]())
    told[["steps"]] <<- c(told[["steps"]], done[["steps"]])
    told[["notes"]] <<- c(told[["notes"]], done[["notes"]])
    if (done[["ok"]] && !is.null(done[["outcome"]])) {
      tell(done[["outcome"]])
      return(later::later(step, 0.01))
    }
    if (done[["ok"]]) {
      done <- with_told(work[["finish"]](parts[["result"]]()))
    }
    parts[["end"]]()
    told[["ok"]] <- done[["ok"]]
    told[["outcome"]] <- done[["outcome"]]
    end_form(page, form, told)
  }
  tell(0)
  later::later(step, 0.01)
}

# What a browser sent may be anything: texts, numbers and flags of a form, by name.
form_fields <- function(sent) {
  fields <- if (is.list(sent)) sent[["fields"]]
  is_fine <- function(value) {
    is.atomic(value) &&
      length(value) == 1L &&
      !is.na(value) &&
      (!is.character(value) || validUTF8(value))
  }
  if (is.list(fields)) Filter(is_fine, fields) else list()
}

form_number <- function(sent) {
  number <- if (is.list(sent)) sent[["number"]]
  if (is.numeric(number) && length(number) == 1L) number else 0
}

# A text of a form, or NULL where it was left empty.
field_text <- function(fields, name) {
  text <- string_or_empty(fields[[name]])
  if (nzchar(trimws(text))) text
}

# Runs code with nobody at the console: nothing asks there, and what would be told there
# is told on the page.
with_told <- function(code) {
  steps <- character()
  notes <- character()
  outcome <- tryCatch(
    withCallingHandlers(
      rlang::with_interactive(code, value = FALSE),
      message = function(condition) {
        steps <<- c(steps, condition_line(condition))
        rlang::cnd_muffle(condition)
      },
      warning = function(condition) {
        notes <<- c(notes, page_sentence(condition))
        rlang::cnd_muffle(condition)
      }
    ),
    error = identity
  )
  ok <- !inherits(outcome, "error")
  list(ok = ok, outcome = outcome, steps = steps, notes = notes)
}

condition_line <- function(condition) {
  trimws(printable(cli::ansi_strip(conditionMessage(condition))))
}

told_html <- function(told) {
  tags <- shiny::tags
  outcome <- told[["outcome"]]
  if (!told[["ok"]]) {
    outcome <- failure_html(outcome)
  } else if (is_string(outcome)) {
    outcome <- tags[["p"]](page_mark("good", outcome))
  }
  steps <- told[["steps"]]
  # What to call in R, and what ends in a colon before it, is nothing that a page can do.
  steps <- steps[nzchar(steps) & !grepl("mx_[a-z_]+\\(|:$", steps)]
  shiny::tagList(
    outcome,
    lapply(told[["notes"]], function(note) {
      tags[["p"]](page_mark("warn", note))
    }),
    if (length(steps) > 0L) {
      tags[["ul"]](
        class = "mx-steps",
        lapply(steps, function(step) tags[["li"]](step))
      )
    }
  )
}

# An approval in a browser is the only error with a link: the server names it.
failure_html <- function(condition) {
  tags <- shiny::tags
  url <- if (inherits(condition, "mx_error_approval")) condition[["url"]]
  is_web <- is_string(url) && grepl("^https?://", url)
  shiny::tagList(
    tags[["p"]](page_mark("bad", page_sentence(condition))),
    if (is_web) {
      tags[["p"]](
        tags[["a"]](
          href = url,
          target = "_blank",
          rel = "noopener noreferrer",
          "Approve it at your server"
        ),
        " Then press the button again."
      )
    }
  )
}
