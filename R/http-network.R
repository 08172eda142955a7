# The network between R and the homeserver: whose certificates are trusted, through
# which proxy requests go, how long a connection may take; and what a failure of one
# of them is called. Requests themselves are in http-request.R and http-transfer.R.
#
# libcurl reads `https_proxy` and its relatives. It reads neither `SSL_CERT_FILE` nor
# `CURL_CA_BUNDLE`: only the program curl does.

# Rows of tables are long.
# nolint start: line_length_linter.
#' Proxies and private certificate authorities
#'
#' Company networks often have a proxy and a certificate authority of their own. This
#' package reads the environment variables that other programs there use. If they are
#' set, there is nothing to do.
#'
#' In each row, the first place that is set counts:
#'
#' | what | where it comes from |
#' |---|---|
#' | certificate authorities, a file in PEM format | the argument `ca_file` of [mx_client_configure()], which the client remembers; the option `mxcrypt.ca_file`; the environment variables `CURL_CA_BUNDLE` and `SSL_CERT_FILE`; the system |
#' | certificate authorities, a directory | the environment variable `SSL_CERT_DIR`; the system |
#' | the proxy | the option `mxcrypt.proxy`, where `""` is none; the environment variables `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` |
#' | user name and password of the proxy | its address, as in `http://user:password@proxy.example.org:3128`; the environment variables `MXCRYPT_PROXY_USER` and `MXCRYPT_PROXY_PASSWORD` |
#' | hosts that are reached without the proxy | this machine, always; the environment variables `no_proxy` and `NO_PROXY` |
#' | seconds to connect | the option `mxcrypt.connect_timeout` (10), at most `mxcrypt.timeout` |
#'
#' A file of certificate authorities replaces the system's file: it must hold all
#' authorities that are needed, also public ones if you download media from other hosts.
#' File and directory are used together. On Windows and macOS, some builds of libcurl read
#' only the file.
#'
#' In the address of a proxy, a password must be percent-encoded:
#' `utils::URLencode(password, reserved = TRUE)`. Errors never show its user name and
#' password. The schemes `http`, `https`, `socks4`, `socks4a`, `socks5` and `socks5h` are
#' supported, with Basic, Digest or NTLM authentication.
#'
#' A homeserver with an IPv6 address is written with brackets:
#' `https://[2001:db8::1]:8448`.
#'
#' @section What a proxy sees:
#' Over https, a proxy passes on bytes that it cannot read. It sees the name of the
#' homeserver, its own password, when you send and how much. A proxy that opens https
#' with a certificate authority of its own, which you trust by `ca_file`, reads what the
#' homeserver reads: the access token, your password, and who talks with whom. It reads no
#' message of an encrypted room.
#'
#' Over plain http, every proxy would read all this. So nothing is sent to a homeserver
#' with an `http` address while a proxy is set for it. No option allows it.
#'
#' @section Errors:
#' * `mx_error_certificate`: the certificate of the server, or of something in between, is
#'   not trusted, or not for this name; or the file of authorities cannot be read. Nothing
#'   was sent.
#' * `mx_error_proxy`: the proxy cannot be reached, requires another password, or refuses
#'   the address.
#'
#' Both are an `mx_error_network` too. A request is not tried again where that would end
#' in the same way: after a certificate error, a refusal of the proxy (status 403 or 407),
#' or a server that was not reached in the time to connect.
#' @name mxcrypt_network
#' @seealso [mx_client_configure()], [mxcrypt_options]; [mx_doctor()] checks all this.
#' @examples
#' # For all clients of this session.
#' old <- options(
#'   mxcrypt.proxy = "http://proxy.example.org:3128",
#'   mxcrypt.connect_timeout = 5
#' )
#' # A demo homeserver runs inside R and needs no network.
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_rooms(alice)
#' options(old)
NULL
# nolint end

# The options of curl for a request to `url`.
network_options <- function(session, url) {
  c(
    list(connecttimeout_ms = ceiling(connect_timeout() * 1000)),
    if (is_https(url)) certificate_options(session, url),
    proxy_options(url)
  )
}

# How long it may take to connect, in seconds: to find the address, and to reach it or
# the proxy.
connect_timeout <- function() {
  timeout <- getOption("mxcrypt.connect_timeout", 10)
  timeout <- check_number(timeout, "mxcrypt.connect_timeout", 0.001)
  min(timeout, http_timeout())
}

is_https <- function(url) {
  grepl("^https:", url, ignore.case = TRUE)
}

# The host of an address, without the brackets of IPv6.
host_of <- function(url) {
  host <- sub("^[A-Za-z0-9+.-]+://", "", url)
  host <- sub("^[^/?#]*@", "", sub("[/?#].*$", "", host))
  host <- sub(":[0-9]*$", "", host)
  tolower(gsub("^\\[|\\]$", "", host))
}

# What a request to this host never leaves the machine for.
is_loopback <- function(host) {
  host %in%
    c("::1", "0:0:0:0:0:0:0:1") ||
    grepl("^127(\\.[0-9]{1,3}){3}$", host) ||
    grepl("^(.+\\.)?localhost\\.?$", host)
}

# Certificates -----------------------------------------------------------------

# The file of certificate authorities, and `from`, who named it; NULL where the
# system's are used.
ca_choice <- function(session) {
  given <- list(
    "`ca_file`" = session[["ca_file"]] %||% the[["ca_file"]],
    "the option `mxcrypt.ca_file`" = getOption("mxcrypt.ca_file"),
    "CURL_CA_BUNDLE" = env_value("CURL_CA_BUNDLE"),
    "SSL_CERT_FILE" = env_value("SSL_CERT_FILE")
  )
  given <- Filter(Negate(is.null), given)
  if (length(given) > 0L) {
    list(path = given[[1L]], from = names(given)[[1L]])
  }
}

# For the requests of a client that know nothing of it but an address, such as those
# to its OAuth server. Until the caller returns.
local_ca_file <- function(ca_file, env = caller_env()) {
  ca_file <- ca_file %||% the[["ca_file"]]
  rlang::local_bindings(ca_file = ca_file, .env = the, .frame = env)
}

certificate_options <- function(session, url) {
  choice <- ca_choice(session)
  options <- list()
  if (!is.null(choice)) {
    path <- check_path(choice[["path"]], choice[["from"]])
    if (!is_readable(path)) {
      raise(ca_file_condition(choice))
    }
    options[["cainfo"]] <- path
    # A proxy that is itself reached over TLS belongs to the same network.
    proxy <- proxy_choice(url)
    if (!is.null(proxy) && is_https(proxy[["url"]])) {
      options[["proxy_cainfo"]] <- path
    }
  }
  directory <- env_value("SSL_CERT_DIR")
  if (!is.null(directory) && takes_directory()) {
    options[["capath"]] <- directory
  }
  options
}

is_readable <- function(path) {
  file.exists(path) && !dir.exists(path) && file.access(path, 4L) == 0L
}

# Only these read a directory of authorities; others refuse the option.
takes_directory <- function() {
  grepl("^(OpenSSL|LibreSSL|GnuTLS)", curl::curl_version()[["ssl_version"]])
}

ca_file_condition <- function(choice) {
  network_error(
    c(
      paste0(
        "The file of certificate authorities that ",
        choice[["from"]],
        " names cannot be read. Nothing was sent."
      ),
      x = printable(choice[["path"]]),
      i = "Give the path of a file with certificates in PEM format."
    ),
    "mx_error_certificate",
    final = TRUE
  )
}

# The argument `ca_file`: an absolute path to certificates that can be used, or NULL.
check_ca_file <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  path <- check_path(x, name, null = TRUE, call = call)
  if (is.null(path)) {
    return(NULL)
  }
  wanted <- "a file of certificate authorities in PEM format"
  if (!is_readable(path)) {
    argument_abort(name, paste0(wanted, " that can be read"), call, path)
  }
  start <- readBin(path, "raw", min(file.size(path), 1e7))
  # Windows exports certificates in a binary format (DER) by default.
  if (!length(grepRaw("-----BEGIN [A-Z0-9 ]*CERTIFICATE-----", start))) {
    argument_abort(name, wanted, call, paste(path, "(no certificate in PEM)"))
  }
  path
}

# Proxies ----------------------------------------------------------------------

# A proxy reads, and can alter, what is sent over plain http, also the access token and
# the password. Such requests go straight to the homeserver or not at all.
proxy_options <- function(url) {
  if (is_loopback(host_of(url))) {
    # A proxy would look for the homeserver on its own machine.
    return(list(proxy = ""))
  }
  choice <- proxy_choice(url)
  if (!is_https(url)) {
    if (!is.null(choice)) {
      raise(clear_text_condition(url, choice))
    }
    return(list(proxy = ""))
  }
  # No header of the request, such as the access token, goes into a CONNECT.
  options <- list(headeropt = 1L)
  # Without it, libcurl reads the environment.
  if (!is.null(getOption("mxcrypt.proxy"))) {
    options[["proxy"]] <- check_proxy(getOption("mxcrypt.proxy"))
  }
  c(options, if (!is.null(choice)) proxy_login())
}

proxy_login <- function() {
  # Basic, Digest and NTLM. Not Negotiate: curl would prefer it, and fail where the
  # user has no ticket.
  options <- list(proxyauth = 11L)
  options[["proxyusername"]] <- env_value("MXCRYPT_PROXY_USER")
  options[["proxypassword"]] <- env_value("MXCRYPT_PROXY_PASSWORD")
  options
}

# The proxy for an address, and `from`, who named it; NULL where there is none.
proxy_choice <- function(url) {
  if (is_excluded(host_of(url))) {
    return(NULL)
  }
  option <- getOption("mxcrypt.proxy")
  if (!is.null(option)) {
    url <- check_proxy(option)
    from <- "the option `mxcrypt.proxy`"
    return(if (nzchar(url)) list(url = url, from = from))
  }
  # `HTTP_PROXY` could come from a header of a request to a CGI program, so curl does
  # not read it (CVE-2016-5388, "httpoxy").
  variables <- if (is_https(url)) {
    c("https_proxy", "HTTPS_PROXY")
  } else {
    "http_proxy"
  }
  for (variable in c(variables, "all_proxy", "ALL_PROXY")) {
    value <- env_value(variable)
    if (!is.null(value)) {
      return(list(url = value, from = paste("the variable", variable)))
    }
  }
}

# Whether `no_proxy` names a host, as libcurl reads it.
is_excluded <- function(host) {
  list <- env_value("no_proxy") %||% env_value("NO_PROXY") %||% ""
  entries <- strsplit(tolower(trimws(list)), "[, \t]+")[[1L]]
  if (identical(entries, "*")) {
    return(TRUE)
  }
  entries <- gsub("^[.\\[]+|[].]+$", "", entries)
  host <- sub("\\.$", "", host)
  any(entries == host) ||
    any(nzchar(entries) & endsWith(host, paste0(".", entries))) ||
    any(vapply(entries, in_network, NA, host = host))
}

# Whether an IPv4 address is in a network, such as 10.0.0.0/8.
in_network <- function(network, host) {
  part <- strsplit(network, "/", fixed = TRUE)[[1L]]
  if (length(part) != 2L || !grepl("^[0-9]{1,2}$", part[[2L]])) {
    return(FALSE)
  }
  numbers <- c(ipv4_number(part[[1L]]), ipv4_number(host))
  bits <- as.integer(part[[2L]])
  !anyNA(numbers) &&
    bits <= 32L &&
    diff(floor(numbers / 2^(32L - bits))) == 0
}

ipv4_number <- function(text) {
  if (!grepl("^[0-9]{1,3}([.][0-9]{1,3}){3}$", text)) {
    return(NA_real_)
  }
  sum(as.numeric(strsplit(text, ".", fixed = TRUE)[[1L]]) * 256^(3:0))
}

# The option `mxcrypt.proxy`: an address, or "" for no proxy. What was found is not
# said, because a password may be in it.
check_proxy <- function(proxy) {
  host <- "([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/?$"
  scheme <- "^((https?|socks4a?|socks5h?)://)?([^@/[:space:]]*@)?"
  if (!is_string(proxy) && !identical(proxy, "")) {
    argument_abort("mxcrypt.proxy", "the address of a proxy", caller_env())
  }
  if (nzchar(proxy) && !grepl(paste0(scheme, host), proxy)) {
    argument_abort(
      "mxcrypt.proxy",
      paste(
        "the address of a proxy, such as \"http://proxy.example.org:3128\".",
        "Characters other than letters and digits in a password are written as %",
        "and two digits, see utils::URLencode(reserved = TRUE)"
      ),
      caller_env()
    )
  }
  proxy
}

# A proxy as it may be printed: without user name and password.
proxy_name <- function(choice) {
  url <- choice[["url"]]
  scheme <- regmatches(url, regexpr("^[A-Za-z0-9]+://", url))
  paste0(scheme, printable(sub("^([A-Za-z0-9]+://)?(.*@)?", "", url)))
}

clear_text_condition <- function(url, choice) {
  network_error(
    c(
      paste0(
        "The proxy would read everything that is sent to ",
        origin(url),
        ", also the access token. Nothing was sent."
      ),
      x = paste0(
        "The proxy is ",
        proxy_name(choice),
        ": ",
        choice[["from"]],
        "."
      ),
      i = "Use the https address of the homeserver.",
      i = paste0(
        "If the homeserver is reached without a proxy, say so: ",
        "Sys.setenv(no_proxy = \"",
        host_of(url),
        "\")."
      )
    ),
    "mx_error_proxy",
    final = TRUE
  )
}

# Failures ---------------------------------------------------------------------

# A failure of the network. One that is `final` is not tried again: the next try would
# end in the same way.
network_error <- function(message, class = NULL, final = FALSE) {
  errorCondition(
    rlang::format_error_bullets(message),
    class = c(class, "mx_error_network", "mx_error"),
    final = final
  )
}

# The failure that `reason`, the words of curl, tells of. They are all that tells it:
# conditions of curl have classes since version 6 only, and a stream has none.
no_answer <- function(url, reason, session = NULL) {
  proxy <- if (!is_loopback(host_of(url))) proxy_choice(url)
  reason <- printable(without_login(reason, proxy))
  # A host may have one of the words in its name.
  words <- gsub(host_of(url), "", reason, fixed = TRUE)
  if (is_proxy_reason(words, proxy)) {
    return(proxy_failure(url, reason, proxy))
  }
  if (is_https(url) && is_certificate_reason(words)) {
    return(certificate_failure(url, reason, session))
  }
  network_error(
    c(paste0("No response from ", url, "."), x = reason),
    final = is_unreached(words)
  )
}

# curl repeats the address of a proxy that it cannot read, with its password.
without_login <- function(reason, proxy) {
  if (grepl("proxy (syntax|scheme)|proxy URL", reason)) {
    return("The address of the proxy cannot be used.")
  }
  address <- proxy[["url"]] %||% ""
  login <- if (grepl("@", address, fixed = TRUE)) {
    sub("@[^@]*$", "@", sub("^[A-Za-z0-9]+://", "", address))
  }
  if (is.null(login)) reason else gsub(login, "", reason, fixed = TRUE)
}

is_proxy_reason <- function(words, proxy) {
  if (is.null(proxy)) {
    # A proxy that is set where R does not see it.
    return(grepl("from proxy|CONNECT tunnel|resolve proxy", words))
  }
  # With a proxy, curl connects to nothing else.
  grepl("proxy|CONNECT tunnel|SOCKS", words, ignore.case = TRUE) ||
    grepl("(Failed to|Could ?n[o']t) connect", words)
}

is_certificate_reason <- function(words) {
  pattern <- paste(
    # OpenSSL, GnuTLS, Secure Transport; "unknown CA" is an alert of the server.
    "certificate|CAfile|unknown CA",
    # A server that speaks no TLS at this port, or only an old version.
    "wrong version number|unsupported protocol|protocol version",
    "handshake failure|packet with unexpected length",
    # Schannel.
    "SEC_E_(UNTRUSTED|CERT|WRONG_PRINCIPAL|ILLEGAL_MESSAGE)|CERT_E_|CRYPT_E_",
    sep = "|"
  )
  grepl(pattern, words, ignore.case = TRUE)
}

# Whether the whole time for connecting went by. curl has tried all addresses of the
# host by then, several times each.
is_unreached <- function(words) {
  grepl("(Connection|Resolving) time(d )?out after", words) ||
    grepl("Failed to connect to .*(Timeout was reached|timed out)", words)
}

certificate_failure <- function(url, reason, session) {
  choice <- ca_choice(session)
  trusted <- if (is.null(choice)) {
    "Trusted are the certificate authorities of the system."
  } else {
    paste0(
      "Trusted are the certificate authorities in ",
      printable(choice[["path"]]),
      ", which ",
      choice[["from"]],
      " names."
    )
  }
  network_error(
    c(
      paste0("No secure connection to ", url, ". Nothing was sent."),
      x = reason,
      i = trusted,
      i = paste(
        "If your network or the homeserver has an authority of its own, ask who",
        "runs it for the file: mx_client_configure(ca_file = ) or",
        "options(mxcrypt.ca_file = \"ca.pem\"). See ?mxcrypt_network."
      )
    ),
    "mx_error_certificate",
    final = TRUE
  )
}

proxy_failure <- function(url, reason, proxy) {
  status <- proxy_status(reason)
  help <- if (identical(status, 407L)) {
    paste(
      "It asks for a user name and a password, or refuses those it got: set",
      "MXCRYPT_PROXY_USER and MXCRYPT_PROXY_PASSWORD. See ?mxcrypt_network."
    )
  } else if (isTRUE(status %in% 400:499)) {
    "Its rules may not allow this address: ask who runs the proxy."
  } else if (isTRUE(status >= 500L)) {
    "The proxy may not reach the homeserver. Try again later."
  } else {
    "Check the address of the proxy, and whether it runs."
  }
  name <- if (!is.null(proxy)) {
    paste0(proxy_name(proxy), " (", proxy[["from"]], ")")
  }
  network_error(
    c(
      paste(
        c("No response from", url, "through the proxy", name),
        collapse = " "
      ),
      x = reason,
      i = help
    ),
    "mx_error_proxy",
    final = isTRUE(status %in% setdiff(400:499, c(408L, 425L, 429L))) ||
      grepl("cannot be used", reason)
  )
}

# The status with which a proxy refused to connect, or NULL.
proxy_status <- function(reason) {
  found <- regmatches(
    reason,
    regexpr("(?<=response |HTTP code )[0-9]{3}", reason, perl = TRUE)
  )
  if (length(found) == 1L) as.integer(found)
}
