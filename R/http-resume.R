# When a download that broke off continues where it ended (RFC 9110, sections 13.1.5
# and 14): only where the parts of two different files cannot be joined. The transfer
# itself is in http-transfer.R.
#
# `download$part$head` is what is known of the file that is there in part, or NULL
# where the rest may not be requested. Synapse ignores `Range`, but proxies and content
# delivery networks in front of it support it.

# The `total` size and the strong `etag` of the file that a response of status 200
# begins, or NULL where it cannot be resumed. Without an entity tag, only the hash of
# the whole file shows whether its parts belong together.
resumable_head <- function(headers, resume) {
  total <- as_size(headers[["content-length"]])
  etag <- strong_etag(headers)
  is_safe <- switch(
    resume,
    never = FALSE,
    etag = !is.null(etag),
    hash = TRUE
  )
  takes_ranges <- identical(tolower(headers[["accept-ranges"]]), "bytes")
  if (is_safe && takes_ranges && !is.na(total)) {
    list(total = total, etag = etag)
  }
}

# The entity tag of a response, or NULL where it is weak or not valid. Synapse sends
# `1` without quotes for every file.
strong_etag <- function(headers) {
  etag <- headers[["etag"]]
  if (is_string(etag) && grepl('^"[!#-~]*"$', etag)) {
    etag
  }
}

# The headers that request the rest of a file; none where all of it is needed.
range_headers <- function(download) {
  head <- download[["part"]][["head"]]
  headers <- list()
  if (!is.null(head)) {
    headers[["Range"]] <- sprintf("bytes=%.0f-", file.size(download[["to"]]))
    headers[["If-Range"]] <- head[["etag"]]
  }
  headers
}

# Whether a response of status 206 is the rest of the file that is there in part. A
# server may ignore `If-Range`, so its entity tag is compared too.
is_rest <- function(headers, download) {
  head <- download[["part"]][["head"]]
  total <- head[["total"]]
  size <- file.size(download[["to"]])
  !is.null(head) &&
    identical(
      headers[["content-range"]],
      sprintf("bytes %.0f-%.0f/%.0f", size, total - 1, total)
    ) &&
    identical(strong_etag(headers), head[["etag"]])
}

# Whether a response refuses to continue a download, or does so wrongly.
refuses_rest <- function(answer, download) {
  !is_no_answer(answer) &&
    answer[["status"]] %in% c(206L, 416L) &&
    !is.null(download[["part"]][["head"]])
}

# `part` is an environment: the next try sees the change.
set_head <- function(download, head) {
  part <- download[["part"]]
  part[["head"]] <- head
}
