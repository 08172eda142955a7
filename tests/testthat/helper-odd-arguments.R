# Each exported function, as a call that works, by its name. The calls of an area
# stand in helper-calls-<area>.R.
good_calls <- function() {
  scene <- demo_pair(verified = FALSE)
  scene$recovery_key <- mx_crypto_setup(scene$alice)$recovery_key
  scene$bobs <- mx_crypto_setup(scene$bob)
  c(
    calls_client(scene),
    calls_keys(scene),
    calls_messages(scene),
    calls_archive(scene),
    calls_bot(scene),
    calls_mxc(),
    calls_rooms(scene),
    calls_secrets(scene),
    calls_shiny(scene),
    calls_store(scene),
    calls_backup(scene),
    calls_compat(scene),
    calls_trust(scene),
    calls_verification()
  )
}

# The arguments of a call: those in the place of `...` have no names.
as_call <- function(arguments) {
  names(arguments)[names(arguments) == "..."] <- ""
  arguments
}

# What a caller may give by mistake.
odd_arguments <- function() {
  marked <- function(text, encoding) {
    Encoding(text) <- encoding
    text
  }
  list(
    "NULL" = NULL,
    "NA" = NA,
    "NA_character_" = NA_character_,
    "NaN" = NaN,
    "-1" = -1,
    "1.5" = 1.5,
    "1e300" = 1e300,
    "nothing" = character(),
    "an empty list" = list(),
    "an empty string" = "",
    "a format" = "%s%n%d {x} {{.x}} %%",
    "a control character" = "a\u0001\nb\r",
    "text in latin1" = marked("\xe9", "latin1"),
    "bytes" = marked("\xff", "bytes"),
    "text that is none" = marked("\xff\xfe", "UTF-8"),
    "a long text" = strrep("x", 1e5),
    "two texts" = c("a", NA),
    "a path out" = "../../x",
    "bytes with a NUL" = as.raw(c(0, 255)),
    "a list" = list(1, "a", NULL),
    "a list of lists" = list(list(list())),
    "a named list" = list(a = 1, a = 2),
    "a function" = identity,
    "an environment" = new.env(),
    "a symbol" = quote(x),
    "a call" = quote(f(x)),
    "a factor" = factor("a"),
    "a date" = Sys.Date(),
    "a data frame" = data.frame(a = 1),
    "a matrix" = matrix(1:4, 2),
    "a complex number" = 1i,
    "a pointer" = methods::new("externalptr"),
    "a connection" = stdin()
  )
}
