# Messages over time, as a picture: a panel for each room, and bars whose parts are the
# trust in the devices that sent them. The counts are made first, for base graphics and for
# ggplot2 alike.

#' Draw messages over time
#'
#' Draws how many messages were sent when, in which room, and with what [trust][mx_events]
#' in the devices that sent them: a panel for each room, and a bar for each span of time,
#' whose length follows from the first and the last message. `plot()` draws on the graphics
#' device; `autoplot()`, if ggplot2 is installed, returns a ggplot to add to, or to send
#' with [mx_send_plot()].
#'
#' Messages are events of the types `m.room.message`, `m.room.encrypted` (which could not be
#' read) and `m.sticker`. The rooms with most of them have a panel of their own, as many as
#' there is room for; the others share the last one. Levels of trust differ by colour and,
#' in `plot()`, by hatching; in each bar they lie in the order of the legend.
#'
#' A sender's server chooses the time of a message. Messages without a time, or with one that
#' is not between 1970 and 2100, are counted below the picture, and not drawn.
#'
#' @param x,object Events, as from [mx_messages()] or [mx_sync()].
#' @param rooms What the rooms are called: a data frame with the columns `room_id` and
#'   `name`, as [mx_rooms()] returns it. `NULL` takes the names from events of the type
#'   `m.room.name` in `x`. Rooms without a name are called by their ids.
#' @param ... Ignored.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot.
#' @section Errors:
#' `mx_error_argument`.
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#' mx_send_text(alice, room, c("one", "two", "three"))
#' events <- mx_messages(alice, room)
#' plot(events)
#' plot(events, rooms = mx_rooms(alice))
#' if (requireNamespace("ggplot2", quietly = TRUE)) {
#'   ggplot2::autoplot(events) + ggplot2::labs(title = "Pipeline")
#' }
#' @export
plot.mx_events <- function(x, ..., rooms = NULL) {
  check_events_to_draw(x)
  check_rooms_to_draw(rooms)
  old <- graphics::par(mar = rep(0, 4))
  on.exit(graphics::par(old))
  size <- new_drawing()
  draw_counts(x, rooms, size)
  invisible(x)
}

# ggplot2 is only suggested: the method is registered when it is loaded.
#' @rdname plot.mx_events
#' @method autoplot mx_events
#' @exportS3Method ggplot2::autoplot mx_events
autoplot.mx_events <- function(object, ..., rooms = NULL) {
  check_package("ggplot2")
  check_events_to_draw(object, "object")
  check_rooms_to_draw(rooms)
  messages <- messages_to_draw(object, rooms)
  counts <- counts_of(messages, most_rooms)
  drawn <- intersect(trust_levels, counts[["trust"]])
  aes <- function(...) do.call(ggplot2::aes, lapply(list(...), as.name))
  ggplot2::ggplot(
    counts,
    aes(xmin = "from", xmax = "to", ymin = "below", ymax = "above")
  ) +
    ggplot2::geom_rect(aes(fill = "trust"), colour = "white", linewidth = 0.2) +
    (if (nrow(counts) > 0L) ggplot2::facet_wrap("room", ncol = 1L)) +
    ggplot2::scale_fill_manual(
      values = trust_colours[drawn],
      limits = drawn,
      labels = unname(trust_words[drawn])
    ) +
    ggplot2::scale_y_continuous(breaks = whole_breaks) +
    ggplot2::labs(
      title = counts_title(messages),
      x = NULL,
      y = "messages",
      fill = "trust",
      caption = counts_caption(messages)
    )
}

check_events_to_draw <- function(x, name = "x", call = caller_env()) {
  needed <- c("room_id", "origin_server_ts", "type", "trust")
  if (
    !all(needed %in% names(x)) || !inherits(x[["origin_server_ts"]], "POSIXct")
  ) {
    argument_abort(
      name,
      paste("events with the columns", toString(paste0("`", needed, "`"))),
      call
    )
  }
}

check_rooms_to_draw <- function(rooms, call = caller_env()) {
  is_table <- is.data.frame(rooms) &&
    is.character(rooms[["room_id"]]) &&
    is.character(rooms[["name"]])
  if (!is.null(rooms) && !is_table) {
    argument_abort("rooms", "a data frame, from mx_rooms(), or NULL", call)
  }
}

message_types <- c("m.room.message", "m.room.encrypted", "m.sticker")

# More panels than this nobody compares.
most_rooms <- 8L

# The colours of Okabe and Ito, and a brown. What is not to be trusted has warm ones.
trust_colours <- c(
  none = "#BDBDBD",
  blocked = "#1A1A1A",
  key_changed = "#8C2D04",
  unknown_device = "#E69F00",
  identity_changed = "#D55E00",
  unsigned = "#F0E442",
  not_guaranteed = "#CC79A7",
  signed = "#56B4E9",
  verified = "#0072B2"
)

# Hatched by lines of this angle.
trust_hatching <- c(
  blocked = 45,
  key_changed = 45,
  unknown_device = 135,
  identity_changed = 135,
  unsigned = 45
)

trust_words <- c(
  none = "none (or not read)",
  blocked = "blocked",
  key_changed = "key changed",
  unknown_device = "unknown device",
  identity_changed = "identity changed",
  unsigned = "unsigned",
  not_guaranteed = "not guaranteed",
  signed = "signed",
  verified = "verified"
)

# The messages that have a usable time, with the `labels` of their rooms. `untimed` is how
# many have none.
messages_to_draw <- function(x, rooms) {
  chosen <- x[["type"]] %in% message_types
  seconds <- as.numeric(x[["origin_server_ts"]])[chosen]
  room <- as.character(x[["room_id"]])[chosen]
  trust <- as.character(x[["trust"]])[chosen]
  trust[!trust %in% trust_levels] <- "none"
  usable <- is.finite(seconds) & seconds > 0 & seconds < 4102444800
  list(
    seconds = seconds[usable],
    room = room[usable],
    trust = trust[usable],
    untimed = sum(!usable),
    labels = room_labels(unique(room[usable]), x, rooms)
  )
}

# Names of rooms by their ids. Members choose the names: of two rooms with the same one, and
# of a room that is called like the id of another, the id is shown, too.
room_labels <- function(ids, x, rooms) {
  if (is.null(rooms)) {
    rooms <- named_rooms(x)
  }
  labels <- rooms[["name"]][match(ids, rooms[["room_id"]])]
  labels <- trimws(without_direction(printable(labels)))
  unnamed <- is.na(labels) | !nzchar(labels)
  labels[unnamed] <- ids[unnamed]
  labels[is.na(labels)] <- "unknown room"
  labels <- shortened(labels, 60L)
  doubtful <- !unnamed &
    (duplicated(labels) |
      duplicated(labels, fromLast = TRUE) |
      grepl("^[!#@]|other rooms?$", labels))
  labels[doubtful] <- paste0(ids, " (", labels, ")")[doubtful]
  stats::setNames(labels, ids)
}

# The newest names that the events themselves give.
named_rooms <- function(x) {
  is_name <- which(x[["type"]] %in% "m.room.name")
  if (length(is_name) == 0L || is.null(x[["content"]])) {
    return(data.frame(room_id = character(), name = character()))
  }
  times <- as.numeric(x[["origin_server_ts"]])[is_name]
  is_name <- is_name[order(times, decreasing = TRUE, na.last = TRUE)]
  name <- function(content) {
    if (is.list(content)) string_or_na(content[["name"]]) else NA_character_
  }
  data.frame(
    room_id = x[["room_id"]][is_name],
    name = vapply(x[["content"]][is_name], name, "")
  )
}

# How many messages there are of each room, span and trust: a row for each, with where its
# part of the bar lies. `room` is a factor, the fullest room first.
counts_of <- function(messages, most) {
  totals <- sort(table(messages[["room"]], useNA = "ifany"), decreasing = TRUE)
  ids <- names(totals)
  labels <- unname(messages[["labels"]][match(
    ids,
    names(messages[["labels"]])
  )])
  room <- match(messages[["room"]], ids)
  if (length(ids) > most) {
    others <- length(ids) - most + 1L
    labels <- c(labels[seq_len(most - 1L)], plural(others, "other room"))
    room <- pmin(room, most)
  }
  breaks <- time_breaks(messages[["seconds"]])
  bin <- findInterval(messages[["seconds"]], breaks)
  trust <- match(messages[["trust"]], trust_levels)
  shape <- c(length(trust_levels), length(breaks) - 1L, length(labels))
  cell <- trust + shape[[1]] * (bin - 1L + shape[[2]] * (room - 1L))
  counts <- array(tabulate(cell, prod(shape)), shape)
  # The best trust lies at the bottom, where parts of bars are compared best.
  reversed <- counts[rev(seq_len(shape[[1]])), , , drop = FALSE]
  above <- apply(reversed, 2:3, cumsum)
  above <- array(above, shape)[rev(seq_len(shape[[1]])), , , drop = FALSE]
  filled <- which(counts > 0L, arr.ind = TRUE)
  n <- counts[filled]
  data.frame(
    room = factor(labels[filled[, 3L]], levels = labels),
    from = as_time(breaks[filled[, 2L]]),
    to = as_time(breaks[filled[, 2L] + 1L]),
    trust = trust_levels[filled[, 1L]],
    n = n,
    below = above[filled] - n,
    above = above[filled]
  )
}

as_time <- function(seconds) {
  as.POSIXct(seconds, origin = "1970-01-01", tz = "")
}

# Spans of time that people think in, and how many seconds they have about.
time_spans <- c(
  "1 min" = 60,
  "5 min" = 300,
  "15 min" = 900,
  "1 hour" = 3600,
  "3 hour" = 10800,
  "6 hour" = 21600,
  "1 DSTday" = 86400,
  "7 DSTday" = 604800,
  "1 month" = 2629746,
  "3 month" = 7889238,
  "1 year" = 31556952,
  "5 year" = 157784760
)

most_spans <- 48

# The ends of the spans that hold all of these times, in the time zone of the session, from
# the shortest span of which there are not too many.
time_breaks <- function(seconds) {
  if (length(seconds) == 0L) {
    return(c(0, 1))
  }
  first <- min(seconds)
  last <- max(seconds)
  fits <- (last - first) / time_spans <= most_spans
  span <- if (any(fits)) which(fits)[[1]] else length(time_spans)
  begin <- span_begin(as_time(first), names(time_spans)[[span]])
  # A span longer than those that are needed, since months and days differ.
  needed <- ceiling((last - as.numeric(begin)) / time_spans[[span]]) + 2
  breaks <- as.numeric(
    seq(begin, by = names(time_spans)[[span]], length.out = needed + 1)
  )
  from <- max(1L, findInterval(first, breaks))
  to <- findInterval(last, breaks) + 1L
  breaks[from:to]
}

# Where the first span may begin: at a full hour, midnight, Monday, or New Year, of 1970
# for five years.
span_begin <- function(time, span) {
  if (span == "5 year") {
    return(ISOdatetime(1970, 1, 1, 0, 0, 0, tz = ""))
  }
  unit <- sub(".* ", "", span)
  units <- c(min = "hours", hour = "days", DSTday = "days")
  unit <- if (unit %in% names(units)) units[[unit]] else "years"
  begin <- as.POSIXct(trunc(time, unit))
  if (span == "7 DSTday") {
    since_monday <- (unclass(as.POSIXlt(time))[["wday"]] + 6L) %% 7L
    begin <- seq(begin, by = paste(-since_monday, "DSTday"), length.out = 2)[[
      2
    ]]
  }
  begin
}

# Whole numbers only: there are no parts of messages.
whole_breaks <- function(limits) {
  breaks <- pretty(c(0, max(1, limits, na.rm = TRUE)), 3)
  breaks[breaks == round(breaks)]
}

counts_caption <- function(messages) {
  untimed <- messages[["untimed"]]
  paste0(
    "times in ",
    time_zone_name(),
    if (untimed > 0L) {
      paste0("; ", plural(untimed, "message"), " without a usable time")
    }
  )
}

counts_title <- function(messages) {
  seconds <- messages[["seconds"]]
  if (length(seconds) == 0L) {
    return(
      if (messages[["untimed"]] > 0L) {
        "No messages with a usable time"
      } else {
        "No messages"
      }
    )
  }
  days <- format(as_time(range(seconds)), "%Y-%m-%d")
  rooms <- length(unique(messages[["room"]]))
  paste0(
    plural(length(seconds), "message"),
    " in ",
    plural(rooms, "room"),
    ", ",
    paste(unique(days), collapse = " to ")
  )
}

draw_counts <- function(x, rooms, size) {
  messages <- messages_to_draw(x, rooms)
  pad <- 0.02 * min(size) + 0.03
  width <- size[[1]] - 2 * pad
  height <- size[[2]] - 2 * pad
  # About as large as in other plots, smaller on a small device.
  cex <- max(0.3, min(1, width / 6, height / (14 * line_height())))
  line <- line_height(cex)
  title <- counts_title(messages)
  if (length(messages[["seconds"]]) == 0L) {
    draw_text(
      size[[1]] / 2,
      size[[2]] / 2,
      fitted_text(title, width, cex, 2L),
      cex,
      font = 2L,
      align = 0.5
    )
    if (messages[["untimed"]] > 0L) {
      caption <- fitted_text(counts_caption(messages), width, 0.85 * cex)
      draw_text(pad, pad + 0.5 * line, caption, 0.85 * cex)
    }
    return(invisible())
  }
  draw_text(
    pad,
    pad + height - 0.5 * line,
    fitted_text(title, width, cex, 2L),
    cex,
    font = 2L
  )
  present <- intersect(rev(trust_levels), messages[["trust"]])
  legend <- legend_places(trust_words[present], width, cex, 1.4 * line)
  top <- pad + height - 1.6 * line
  draw_trust_legend(present, legend, pad, top, cex)
  top <- top - line * legend[["rows"]] - 0.4 * line
  caption <- fitted_text(counts_caption(messages), width, 0.85 * cex)
  draw_text(pad, pad + 0.4 * line, caption, 0.85 * cex)
  bottom <- pad + 2.4 * line
  most <- max(1L, min(most_rooms, floor((top - bottom) / (3.2 * line))))
  counts <- counts_of(messages, most)
  panels <- split(counts, counts[["room"]])
  ticks <- panel_ticks(panels, length(messages[["labels"]]))
  numbers <- lapply(ticks, format_each)
  left <- pad + max(text_width(unlist(numbers), cex)) + 0.5 * line
  panel <- list(
    left = left,
    right = pad + width,
    page = pad,
    cex = cex,
    span = bar_range(counts)
  )
  each <- (top - bottom) / length(panels)
  for (i in seq_along(panels)) {
    panel[["top"]] <- top - each * (i - 1)
    panel[["bottom"]] <- panel[["top"]] - each + 0.5 * line
    panel[["ticks"]] <- ticks[[i]]
    panel[["numbers"]] <- numbers[[i]]
    draw_panel(panels[[i]], names(panels)[[i]], panel)
  }
  draw_times(panel)
}

# Rooms have one scale, to be compared. Several in one panel would make that too large.
panel_ticks <- function(panels, rooms) {
  highest <- vapply(panels, function(panel) max(panel[["above"]]), 0)
  single <- rep(TRUE, length(panels))
  if (rooms > length(panels)) {
    single[[length(panels)]] <- FALSE
  }
  if (any(single)) {
    highest[single] <- max(highest[single])
  }
  lapply(highest, whole_breaks)
}

format_each <- function(numbers) {
  vapply(numbers, function(number) format_count(number), "")
}

# The time that is shown: a few bars would be very wide.
bar_range <- function(counts) {
  span <- range(as.numeric(counts[["from"]]), as.numeric(counts[["to"]]))
  one <- min(as.numeric(counts[["to"]]) - as.numeric(counts[["from"]]))
  missing <- max(0, 12 * one - diff(span))
  span + c(-0.5, 0.5) * missing
}

draw_trust_legend <- function(present, places, left, top, cex) {
  line <- line_height(cex)
  for (i in seq_along(present)) {
    x <- left + places[["x"]][[i]]
    y <- top - line * (places[["row"]][[i]] - 0.5)
    draw_part(x, y - 0.35 * line, x + line, y + 0.35 * line, present[[i]])
    draw_text(x + 1.4 * line, y, trust_words[[present[[i]]]], cex)
  }
}

# Parts of bars of one level, with white between them where they are high enough for it.
draw_part <- function(left, bottom, right, top, trust, parted = TRUE) {
  graphics::rect(
    left,
    bottom,
    right,
    top,
    col = trust_colours[[trust]],
    border = if (parted) drawing_colours[["paper"]] else NA,
    lty = 1L,
    lwd = 0.5
  )
  if (trust %in% names(trust_hatching)) {
    graphics::rect(
      left,
      bottom,
      right,
      top,
      density = 15,
      angle = trust_hatching[[trust]],
      col = if (trust == "unsigned") {
        drawing_colours[["faint"]]
      } else {
        drawing_colours[["paper"]]
      },
      border = NA,
      lty = 1L,
      lwd = 1
    )
  }
}

draw_panel <- function(counts, room, panel) {
  cex <- panel[["cex"]]
  line <- line_height(cex)
  left <- panel[["left"]]
  right <- panel[["right"]]
  y <- panel[["top"]] - 0.5 * line
  total <- plural(sum(counts[["n"]]), "message")
  draw_text(right, y, total, cex, align = 1)
  width <- right - left - text_width(total, cex) - 0.6 * line
  draw_text(left, y, fitted_text(drawable(room), width, cex, 2L), cex, 2L)
  high <- panel[["top"]] - 1.2 * line - panel[["bottom"]]
  ticks <- panel[["ticks"]]
  unit <- high / max(ticks, counts[["above"]])
  up <- function(n) panel[["bottom"]] + unit * n
  # Numbers need the height of a line each.
  shown <- if (high / max(1, length(ticks) - 1) < 1.1 * line) {
    c(1L, length(ticks))
  } else {
    seq_along(ticks)
  }
  graphics::segments(
    left,
    up(ticks),
    right,
    up(ticks),
    col = drawing_colours[["rule"]],
    lty = 1L,
    lwd = 0.8
  )
  draw_text(
    left - 0.3 * line,
    up(ticks[shown]),
    panel[["numbers"]][shown],
    cex,
    align = 1,
    colour = drawing_colours[["faint"]]
  )
  for (trust in unique(counts[["trust"]])) {
    part <- counts[counts[["trust"]] == trust, ]
    draw_part(
      across(part[["from"]], panel),
      up(part[["below"]]),
      across(part[["to"]], panel),
      up(part[["above"]]),
      trust,
      parted = unit > 0.04
    )
  }
}

across <- function(time, panel) {
  share <- (as.numeric(time) - panel[["span"]][[1]]) / diff(panel[["span"]])
  panel[["left"]] + share * (panel[["right"]] - panel[["left"]])
}

# The times below the last panel, as many as have room.
draw_times <- function(panel) {
  cex <- panel[["cex"]]
  line <- line_height(cex)
  wide <- panel[["right"]] - panel[["left"]]
  most <- max(1, wide / (text_width("0000-00-00", cex) + line))
  at <- pretty(as_time(panel[["span"]]), n = min(8, most))
  labels <- attr(at, "labels") %||% format(at)
  x <- across(at, panel)
  half <- text_width(labels, cex) / 2
  y <- panel[["bottom"]] - 0.8 * line
  end <- -Inf
  for (i in seq_along(labels)) {
    inside <- x[[i]] >= panel[["left"]] - 1e-6 &&
      x[[i]] <= panel[["right"]] + 1e-6
    # Within the page, and beside the one before.
    centre <- max(x[[i]], panel[["page"]] + half[[i]])
    centre <- min(centre, panel[["right"]] - half[[i]])
    if (inside && centre - half[[i]] > end) {
      graphics::segments(
        x[[i]],
        panel[["bottom"]],
        x[[i]],
        panel[["bottom"]] - 0.25 * line,
        col = drawing_colours[["faint"]],
        lty = 1L,
        lwd = 1
      )
      draw_text(centre, y, labels[[i]], cex, align = 0.5)
      end <- centre + half[[i]] + 0.5 * line
    }
  }
}
