# Processes that have nothing but events and keys, as the packages for parallel work start them.
# That a real Spark reads the same is in tests/spark.

test_that("workers of a cluster read what this process reads", {
  skip_on_cran()
  archive <- small_archive(4, 25)
  parts <- parts_of(archive)
  cluster <- parallel::makePSOCKcluster(2)
  withr::defer(parallel::stopCluster(cluster))
  library <- dirname(find.package("mxcrypt"))
  parallel::clusterCall(cluster, .libPaths, c(library, .libPaths()))
  read <- parallel::clusterMap(
    cluster,
    mxcrypt::mx_decrypt,
    parts$events,
    parts$keys,
    MoreArgs = list(threads = 1)
  )
  expect_read_together(read, archive)
})

test_that("workers of future read what this process reads", {
  skip_on_cran()
  skip_if_not_installed("future.apply")
  archive <- small_archive(4, 25)
  parts <- parts_of(archive)
  plan <- future::plan(future::multisession, workers = 2)
  withr::defer(future::plan(plan))
  read <- expect_no_warning(future.apply::future_mapply(
    mx_decrypt,
    parts$events,
    parts$keys,
    MoreArgs = list(threads = 1),
    SIMPLIFY = FALSE
  ))
  expect_read_together(read, archive)
  pairs <- Map(list, parts$events, parts$keys)
  read <- expect_no_warning(future.apply::future_lapply(
    pairs,
    function(pair) mx_decrypt(pair[[1]], pair[[2]], threads = 1)
  ))
  expect_read_together(read, archive)
  part <- parts$events[[1]]
  keys <- parts$keys[[1]]
  read <- future::future(list(mx_decrypt(part, keys), Sys.getpid()))
  read <- expect_no_warning(future::value(read))
  expect_identical(read[[1]], mx_decrypt(part, keys))
  expect_false(read[[2]] == Sys.getpid())
})

test_that("daemons of mirai read what this process reads", {
  skip_on_cran()
  skip_if_not_installed("mirai")
  archive <- small_archive(4, 25)
  parts <- parts_of(archive)
  mirai::daemons(2)
  withr::defer(mirai::daemons(0))
  mirai::everywhere(.libPaths(paths), paths = .libPaths())
  read <- Map(
    function(events, keys) {
      mirai::mirai(
        mxcrypt::mx_decrypt(events, keys, threads = 1),
        events = events,
        keys = keys
      )
    },
    parts$events,
    parts$keys
  )
  expect_read_together(lapply(read, `[`), archive)
})

test_that("forked processes read what their parent reads", {
  skip_on_cran()
  skip_on_os("windows")
  archive <- small_archive(2, 100)
  found <- in_other_r(
    function(archive) {
      expected <- mx_decrypt(archive$events, archive$keys)
      read <- forked(function(i) mx_decrypt(archive$events, archive$keys), 2)
      vapply(read, identical, NA, expected)
    },
    list(archive)
  )
  expect_identical(found, c(TRUE, TRUE))
})

# spark_apply() of sparklyr: a function of a data frame and a context, in a process that
# has nothing else; columns are vectors of the simple types on both sides, and the same
# for each part.
test_that("a new process reads plain columns, and returns plain columns", {
  skip_on_cran()
  skip_if_not_installed("callr")
  archive <- small_archive(2, 10)
  apply <- function(part, context) {
    mxcrypt::mx_decrypt(part, context, flat = TRUE, threads = 1)
  }
  environment(apply) <- globalenv()
  parts <- split(archive$events, archive$events$room_id)
  parts <- c(parts, list(archive$events[0, ]))
  read <- lapply(parts, function(part) {
    callr::r(apply, list(part, archive$keys), cmdargs = "--vanilla")
  })
  types <- unique(lapply(read, function(part) {
    vapply(part, function(column) class(column)[[1]], "")
  }))
  expect_length(types, 1)
  plain <- c("character", "logical", "numeric", "POSIXct")
  expect_true(all(types[[1]] %in% plain))
  bodies <- unlist(lapply(read, `[[`, "body"), use.names = FALSE)
  expect_identical(bodies, archive$bodies)
})
