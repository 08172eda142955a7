test_that("each app has its place, which an environment variable overrides", {
  withr::local_envvar(
    R_USER_CONFIG_DIR = "/somewhere",
    MY_APP_MATRIX_CONFIG = NA
  )
  path <- mx_client_config_path("my-app")
  expect_equal(path, "/somewhere/R/my-app/matrix.json")
  expect_false(path == mx_client_config_path("my-other-app"))
  withr::local_envvar(MY_APP_MATRIX_CONFIG = "/elsewhere.json")
  expect_equal(mx_client_config_path("my-app"), "/elsewhere.json")
  expect_equal(mx_client_config_path("my.app"), "/elsewhere.json")
})

test_that("an app name is a name and not a way out of the directory", {
  for (app in c("..", "../elsewhere", "a/b", "/etc")) {
    expect_error(mx_client_config_path(app), class = "mx_error_argument")
    expect_error(mx_crypto_store_dir(app), class = "mx_error_argument")
  }
})

test_that("a configuration is written whole or not at all, for its owner", {
  skip_on_os("windows")
  path <- file.path(withr::local_tempdir(), "a", "b", "matrix.json")
  write_config(
    list(server = "s", user_id = NULL, name = "d\u00e9j\u00e0"),
    path
  )
  expect_equal(format(file.mode(path)), "600")
  config <- read_config(path)
  expect_equal(config, list(name = "d\u00e9j\u00e0", server = "s"))
  expect_equal(charToRaw(config[["name"]]), charToRaw("d\u00e9j\u00e0"))
  write_config(list(server = "t"), path)
  expect_equal(list.files(dirname(path)), "matrix.json")

  # A file that cannot be written is an error, and the old one stands.
  expect_error(
    write_config(list(server = "u"), file.path(path, "below", "m.json")),
    class = "mx_error"
  )
  expect_equal(read_config(path), list(server = "t"))
})
