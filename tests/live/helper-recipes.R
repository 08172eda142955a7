# Recipes as people run them: copied, and run by the program that their head names.

recipe <- function(...) {
  path <- system.file("recipes", ..., package = "mxcrypt")
  stopifnot(nzchar(path))
  path
}

# A client that signed in once, and a room of its own: what a recipe needs. Its
# configuration and room are found as in a job.
recipe_account <- function(.local_envir = parent.frame()) {
  client <- live_client(.local_envir = .local_envir)
  them <- live_stranger()
  room <- room_of(client, them)
  # A directory of programs in which the package has put its command.
  bin <- withr::local_tempdir(.local_envir = .local_envir)
  command <- system.file("exec", "mxcrypt", package = "mxcrypt")
  file.copy(command, file.path(bin, "mxcrypt"))
  Sys.chmod(file.path(bin, "mxcrypt"), "0755")
  env <- c(
    MXCRYPT_MATRIX_CONFIG = client[["path"]],
    MXCRYPT_ROOM = room,
    R_LIBS = paste(.libPaths(), collapse = ":")
  )
  list(client = client, them = them, room = room, env = env, bin = bin)
}

run_recipe <- function(account, command, args, env = character(), ...) {
  path <- paste(account[["bin"]], Sys.getenv("PATH"), sep = ":")
  processx::run(
    command,
    args,
    env = c("current", account[["env"]], PATH = path, env),
    error_on_status = FALSE,
    timeout = 60,
    ...
  )
}

start_recipe <- function(account, file, env = character()) {
  processx::process$new(
    "Rscript",
    file,
    env = c("current", account[["env"]], env),
    stdout = NULL,
    stderr = "|",
    cleanup = TRUE
  )
}

# What the room was told, as another person's client reads it.
told <- function(account, text) {
  end <- Sys.time() + 20
  repeat {
    events <- account[["them"]]$call("messages", roomId = account[["room"]])
    bodies <- unlist(lapply(events, function(event) event[["body"]]))
    found <- grep(text, bodies, value = TRUE)
    if (length(found) > 0L) {
      return(found)
    }
    if (Sys.time() > end) {
      stop("Nothing was told of ", text, ": ", paste(bodies, collapse = " | "))
    }
    Sys.sleep(0.1)
  }
}
