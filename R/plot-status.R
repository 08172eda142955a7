# The chain of trust as a picture: what vouches for what, from the master key down to
# devices and other users. What is drawn is worked out first, as text and marks, and then
# placed by what the device measures.

#' Draw the chain of trust
#'
#' Draws what [mx_crypto_status()] reports as a graph: the master key of your identity, the
#' keys that it signs, the devices and users that those sign, and beside it secret storage
#' and the key backup. It sends no request.
#'
#' A solid line to a disc is a signature that counts. A broken line to a cross is one that
#' is missing. A triangle marks what changed, was refused or was blocked, and a dotted line
#' what there is none of. The words beside each say the same.
#'
#' Of your own devices and of other users at most eight are named, fewer on a small device.
#' Those that changed, or are blocked, come first, the others by their ids. What is too wide
#' is drawn without its middle. What fits is worked out for the size that the device has
#' now: draw again after you resized a window.
#'
#' @param x What [mx_crypto_status()] returned.
#' @param users Other users to show: a data frame with the columns `user_id`, `verified`
#'   and `needs_approval`, as [mx_user_trust()] returns it. The default is the users of
#'   whom this device remembers a verification. `NULL` shows none.
#' @param ... Ignored.
#' @return `x`, invisibly.
#' @section Errors:
#' `mx_error_argument`.
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' status <- mx_crypto_status(alice)
#' plot(status)
#'
#' # With the members of a room.
#' room <- mx_room_create(alice, invite = bob$user_id)
#' others <- setdiff(mx_room_members(alice, room)$user_id, alice$user_id)
#' plot(status, users = mx_user_trust(alice, others))
#' @export
plot.mx_crypto_status <- function(x, ..., users = x[["users"]]) {
  check_users_to_draw(users)
  old <- graphics::par(mar = rep(0, 4))
  on.exit(graphics::par(old))
  size <- new_drawing()
  draw_chain(chain_of_trust(x, users), size)
  invisible(x)
}

check_users_to_draw <- function(users, call = caller_env()) {
  is_table <- is.data.frame(users) &&
    is.character(users[["user_id"]]) &&
    is.logical(users[["verified"]]) &&
    is.logical(users[["needs_approval"]])
  if (!is.null(users) && !is_table) {
    argument_abort("users", "a data frame, from mx_user_trust(), or NULL", call)
  }
}

# Our own devices, as the store knows them: mx_crypto_status() has just requested them.
own_devices_known <- function(client, machine, call = caller_env()) {
  known <- core(machine_devices(machine, client[["user_id"]]), call = call)
  devices <- data.frame(known[c(
    "device_id",
    "display_name",
    "trust",
    "signed_by_owner",
    "locally_verified",
    "blocked",
    "dehydrated",
    "key_changed"
  )])
  devices[["trust"]] <- as_trust(devices[["trust"]])
  devices
}

# The trust in the users of whom verifications are remembered; nobody is asked.
users_known <- function(client, machine, call = caller_env()) {
  known <- core(machine_verifications(machine), call = call)
  ids <- vapply(known, function(one) one[["user_id"]], "")
  ids <- sort(setdiff(ids, client[["user_id"]]), method = "radix")
  data.frame(core(machine_user_trust(machine, ids), call = call))
}

# What is drawn: boxes (`lines` and `mark`), and rows (`label`, `state`, `mark`). `holds` is
# whether the identity counts, as a mark.
chain_of_trust <- function(x, users) {
  holds <- if (!is.null(x[["identity_refused"]]) || x[["identity_changed"]]) {
    "alarm"
  } else if (is.null(x[["master_key"]])) {
    "none"
  } else {
    "good"
  }
  problems <- nrow(x[["out_of_sync"]])
  list(
    title = paste("Chain of trust of", x[["user_id"]]),
    verdict = if (problems > 0L) {
      paste0("Out of sync: ", plural(problems, "problem"), ", see print()")
    } else {
      "In order"
    },
    verdict_mark = if (problems > 0L) "bad" else "good",
    holds = holds,
    master = key_box(x, "master", "Master key", holds),
    self_signing = key_box(x, "self_signing", "Self-signing key", holds),
    user_signing = key_box(x, "user_signing", "User-signing key", holds),
    storage = storage_box(x),
    backup = backup_box(x[["key_backup"]]),
    devices = device_rows(x, holds),
    users = user_rows(users)
  )
}

key_box <- function(x, key, title, holds) {
  is_here <- x[["cross_signing"]][["private_keys_cached"]][[key]]
  lines <- c(
    title,
    if (key == "master") {
      switch(
        holds,
        none = "no identity yet",
        alarm = if (is.null(x[["identity_refused"]])) "CHANGED" else "REFUSED",
        x[["master_key"]]
      )
    },
    if (is_here) {
      "private key here"
    } else if (holds == "none") {
      "none"
    } else {
      "private key not here"
    }
  )
  list(
    lines = if (key == "master" && holds == "none") lines[1:2] else lines,
    mark = holds
  )
}

storage_box <- function(x) {
  recovery <- x[["key_storage"]][["recovery"]]
  stored <- x[["cross_signing"]][["private_keys_in_secret_storage"]]
  list(
    lines = c(
      "Secret storage",
      paste("recovery", gsub("_", " ", recovery)),
      if (!x[["secret_storage"]]) {
        NULL
      } else if (stored) {
        "has the private keys"
      } else {
        "lacks private keys"
      }
    ),
    mark = switch(recovery, set_up = "good", incomplete = "bad", "none")
  )
}

backup_box <- function(backup) {
  is_broken <- !is.null(backup[["failure"]])
  is_none <- !is_broken && is.null(backup[["version"]])
  is_used <- !is_broken && backup[["trusted"]] && isTRUE(backup[["enabled"]])
  list(
    lines = c(
      "Key backup",
      if (is_broken) {
        "BROKEN"
      } else if (is_none) {
        "none"
      } else {
        paste("version", backup[["version"]])
      },
      if (is_broken || is_none) {
        NULL
      } else if (is_used) {
        paste0(
          format_count(backup[["backed_up"]]),
          " of ",
          plural(backup[["keys"]], "key")
        )
      } else if (backup[["trusted"]]) {
        "not used here"
      } else {
        "not trusted"
      }
    ),
    mark = if (is_used) {
      "good"
    } else if (is_none) {
      "none"
    } else if (is_broken) {
      "alarm"
    } else {
      "bad"
    }
  )
}

# This device first, and after it what needs a look. Who can put another identity in the
# place of ours can sign devices with it, too.
device_rows <- function(x, holds) {
  signed <- isTRUE(x[["device_signed"]])
  this <- data.frame(
    label = paste(x[["device_id"]], "(this)"),
    state = if (signed) "signed" else "not signed",
    mark = if (signed) "good" else "bad",
    font = 2L
  )
  devices <- x[["devices"]]
  devices <- devices[!devices[["device_id"]] %in% x[["device_id"]], ]
  if (is.null(devices) || nrow(devices) == 0L) {
    return(this)
  }
  named <- !is.na(devices[["display_name"]])
  # The id stands first: its owner did not choose it, and it is written from the left.
  label <- devices[["device_id"]]
  label[named] <- paste(label, devices[["display_name"]])[named]
  state <- ifelse(devices[["signed_by_owner"]], "signed", "not signed")
  state[devices[["dehydrated"]]] <- paste0(state, ", dehydrated")[
    devices[["dehydrated"]]
  ]
  by_hand <- devices[["locally_verified"]] & !devices[["signed_by_owner"]]
  state[by_hand] <- "verified here"
  doubtful <- devices[["signed_by_owner"]] & holds == "alarm"
  state[doubtful] <- "not trusted"
  state[devices[["key_changed"]]] <- "KEY CHANGED"
  state[devices[["blocked"]]] <- "blocked"
  alarm <- devices[["key_changed"]] | devices[["blocked"]] | doubtful
  good <- devices[["signed_by_owner"]] | by_hand
  rows <- data.frame(
    label = label,
    state = state,
    mark = ifelse(alarm, "alarm", ifelse(good, "good", "bad")),
    font = 1L
  )
  rbind(this, rows[order(!alarm, label, method = "radix"), ])
}

user_rows <- function(users) {
  if (is.null(users) || nrow(users) == 0L) {
    return(data.frame(
      label = "none to show",
      state = "",
      mark = "none",
      font = 1L
    ))
  }
  verified <- users[["verified"]] %in% TRUE
  changed <- users[["needs_approval"]] %in% TRUE
  without <- if (is.null(users[["master_key"]])) {
    FALSE
  } else {
    is.na(users[["master_key"]]) & !changed
  }
  state <- ifelse(verified, "verified", "not verified")
  state[without] <- "no identity"
  state[changed] <- "CHANGED"
  rows <- data.frame(
    label = users[["user_id"]],
    state = state,
    mark = ifelse(
      changed,
      "alarm",
      ifelse(verified, "good", ifelse(without, "none", "bad"))
    ),
    font = 1L
  )
  rows[order(!changed, rows[["label"]], method = "radix"), ]
}

# The first rows, and how many more there are, in `most` rows at most.
first_rows <- function(rows, named, most) {
  if (nrow(rows) <= min(named, most)) {
    return(rows)
  }
  shown <- min(named, most - 1L)
  left <- rows[-seq_len(shown), ]
  good <- sum(left[["mark"]] == "good")
  states <- unique(left[["state"]][left[["mark"]] == "good"])
  more <- data.frame(
    label = paste("and", format_count(nrow(left)), "more"),
    state = if (length(states) == 1L) {
      paste(format_count(good), states)
    } else if (length(states) > 1L) {
      paste(format_count(good), "in order")
    } else {
      ""
    },
    mark = "none",
    font = 1L
  )
  rbind(rows[seq_len(shown), ], more)
}

# Rows of text of the page, but those of the lists and between them.
chain_lines <- 13

draw_chain <- function(chain, size) {
  pad <- 0.02 * min(size) + 0.03
  width <- size[[1]] - 2 * pad
  height <- size[[2]] - 2 * pad
  normal <- line_height()
  # Readable first; then as many rows as there is room for.
  least <- min(0.55, height / (16 * normal))
  most <- max(2L, floor(height / (normal * least) - chain_lines))
  devices <- first_rows(chain[["devices"]], 9L, most)
  users <- first_rows(chain[["users"]], 8L, most)
  rows <- max(nrow(devices), nrow(users))
  # No wider than what stands in boxes beside each other, and in the row of this device.
  own <- devices[1L, ]
  widest <- max(
    3 * (text_width("private key not here") + 2.2 * normal),
    2 * (text_width(paste(own[["label"]], own[["state"]]), 1, 2L) + 4 * normal)
  )
  cex <- min(
    1,
    height / (normal * (chain_lines + rows)),
    max(least, width / widest)
  )
  line <- line_height(cex)
  spare <- max(0, height - line * (chain_lines + rows))
  half <- (width - 1.1 * line) / 2
  # A state stands below its label where both are too wide, and the page is high.
  is_wide <- any_too_wide(rbind(devices, users), half, cex)
  stacked <- is_wide && spare > line * rows
  if (stacked) {
    spare <- spare - line * rows
  }
  gap <- 1.3 * line + min(spare / 4, 2 * line)
  pitch <- line * (1 + stacked) + min(spare / (4 * rows), 0.6 * line)

  left <- pad
  right <- pad + width
  y <- pad + height - 0.5 * line
  draw_heading(chain, left, right, y, cex)
  top <- y - 1.1 * line

  boxes <- list(chain[["storage"]], chain[["master"]], chain[["backup"]])
  between <- 1.1 * line
  box <- (width - 2 * between) / 3
  upper <- 3.6 * line
  lefts <- left + (0:2) * (box + between)
  middle <- left + width / 2
  for (i in 1:2) {
    # Beside the master key: what keeps its private part, and what it vouches for.
    graphics::lines(
      c(lefts[[i]] + box, lefts[[i + 1]]),
      rep(top - upper / 2, 2),
      col = drawing_colours[["faint"]]
    )
  }
  for (i in 1:3) {
    draw_box(boxes[[i]], lefts[[i]], top, box, upper, cex)
  }

  keys <- top - upper - gap
  lower <- 2.6 * line
  columns <- c(left, left + half + between)
  fork <- top - upper - gap / 2
  draw_line(rep(middle, 2), c(top - upper, fork), chain[["holds"]])
  for (column in columns) {
    centre <- column + half / 2
    draw_line(
      c(middle, centre, centre),
      c(fork, fork, keys),
      chain[["holds"]],
      arrow = TRUE,
      cex = cex
    )
  }
  below <- keys - lower
  # The lists come first: their trunks begin under the boxes.
  draw_rows(devices, columns[[1]], below, half, pitch, cex, stacked)
  draw_rows(users, columns[[2]], below, half, pitch, cex, stacked)
  draw_box(chain[["self_signing"]], columns[[1]], keys, half, lower, cex)
  draw_box(chain[["user_signing"]], columns[[2]], keys, half, lower, cex)
  marks <- c(
    devices[["mark"]],
    users[["mark"]],
    vapply(boxes, function(node) node[["mark"]], "")
  )
  # Between the rows and the last line of the page there are two lines at least.
  above <- 1.5 * line + spare / 4
  draw_marks_legend(marks, left, pad + 0.5 * line, width, above, cex)
}

draw_heading <- function(chain, left, right, y, cex) {
  verdict <- fitted_text(chain[["verdict"]], (right - left) * 0.55, cex)
  needs <- text_width(verdict, cex) + 2 * line_height(cex)
  title <- fitted_text(
    drawable(chain[["title"]]),
    right - left - needs,
    cex,
    2L
  )
  draw_text(left, y, title, cex, font = 2L)
  draw_text(right, y, verdict, cex, align = 1)
  draw_mark(
    right - needs + 1.3 * line_height(cex),
    y,
    chain[["verdict_mark"]],
    cex
  )
}

draw_box <- function(node, left, top, width, height, cex) {
  line <- line_height(cex)
  look <- mark_look(node[["mark"]])
  graphics::rect(
    left,
    top - height,
    left + width,
    top,
    col = drawing_colours[["box"]],
    border = look[["colour"]],
    lty = look[["lty"]],
    lwd = 1.5
  )
  lines <- node[["lines"]]
  inner <- width - 0.6 * line
  y <- top - height / 2 + line * ((length(lines) + 1) / 2 - seq_along(lines))
  # The mark stands before the title.
  title <- fitted_text(lines[[1]], inner - 0.9 * line, cex, 2L)
  half <- text_width(title, cex, 2L) / 2
  centre <- left + width / 2 + 0.4 * line
  draw_text(centre, y[[1]], title, cex, font = 2L, align = 0.5)
  draw_mark(centre - half - 0.55 * line, y[[1]], node[["mark"]], cex)
  if (length(lines) > 1L) {
    rest <- fitted_text(drawable(lines[-1]), inner, cex)
    draw_text(left + width / 2, y[-1], rest, cex, align = 0.5)
  }
}

# Where the words of a row begin, from the left of its column.
row_indent <- function(cex) 2.5 * line_height(cex)

any_too_wide <- function(rows, width, cex) {
  needs <- text_width(drawable(rows[["label"]]), cex, 2L) +
    text_width(rows[["state"]], cex) +
    0.6 * line_height(cex)
  any(needs > width - row_indent(cex))
}

# What a key signs, as branches of a trunk that comes from its box.
draw_rows <- function(rows, left, top, width, pitch, cex, stacked) {
  line <- line_height(cex)
  trunk <- left + 0.6 * line
  mark <- left + 1.8 * line
  words <- left + row_indent(cex)
  right <- left + width
  y <- top - 0.3 * line - pitch * (seq_len(nrow(rows)) - 1) - 0.5 * line
  graphics::lines(
    rep(trunk, 2),
    c(top, y[[length(y)]]),
    col = drawing_colours[["faint"]],
    lty = if (all(rows[["mark"]] == "none")) 3L else 1L,
    lwd = 1
  )
  # A state takes no more than this from its label.
  most <- if (stacked) right - words else 0.55 * (right - words)
  states <- fitted_text(rows[["state"]], most, cex)
  labels <- drawable(rows[["label"]])
  for (i in seq_along(y)) {
    font <- rows[["font"]][[i]]
    look <- rows[["mark"]][[i]]
    draw_line(c(trunk, mark - 0.4 * line), rep(y[[i]], 2), look)
    draw_mark(mark, y[[i]], look, cex)
    if (stacked) {
      label <- fitted_text(labels[[i]], right - words, cex, font)
      draw_text(words, y[[i]] - line, states[[i]], cex)
    } else {
      room <- right - words - text_width(states[[i]], cex) - 0.6 * line
      label <- fitted_text(labels[[i]], room, cex, font)
      draw_text(right, y[[i]], states[[i]], cex, align = 1)
    }
    draw_text(words, y[[i]], label, cex, font = font)
  }
}

# In one row, or more of them where there is room above.
draw_marks_legend <- function(marks, left, y, width, room, cex) {
  words <- c(
    good = "in order",
    bad = "missing or incomplete",
    alarm = "changed or blocked",
    none = "none"
  )
  words <- words[names(words) %in% marks]
  line <- line_height(cex)
  sign <- 2.2 * line
  small <- cex * 0.85
  repeat {
    places <- legend_places(words, width, small, sign)
    above <- line * (places[["rows"]] - 1L)
    if (above <= room || small < 0.1) {
      break
    }
    small <- small * 0.9
  }
  for (i in seq_along(words)) {
    x <- left + places[["x"]][[i]]
    at <- y + above - line * (places[["row"]][[i]] - 1L)
    draw_line(c(x, x + 1.2 * line), rep(at, 2), names(words)[[i]])
    draw_mark(x + 1.6 * line, at, names(words)[[i]], small)
    draw_text(x + sign, at, words[[i]], small)
  }
}
