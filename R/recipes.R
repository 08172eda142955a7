#' Recipes: cron, systemd, Airflow, Slurm, targets, Shiny and more
#'
#' Short files that run as they are: copy one and change it. They are in
#' `system.file("recipes", package = "mxcrypt")`. The first lines of each say
#' how it is run and what it needs. Jobs find the login in its usual place
#' ([mx_client_config_path()]), and the room in the environment variable `MXCRYPT_ROOM`.
#'
#' | file | what it does |
#' |---|---|
#' | `cron/nightly.R`, `crontab` | posts the result of a nightly job, or its error |
#' | `systemd/mxcrypt-nightly.timer`, `.service` | the same with systemd |
#' | `systemd/mxcrypt-failed@.service` | tells a room that a unit failed, with the end of its log |
#' | `systemd/mxcrypt-bot.service` | runs a bot, with its secrets as credentials |
#' | `notify/notify.sh` | runs a command, and posts its output if it fails |
#' | `slurm/job.sh` | a job of Slurm that tells how it ended |
#' | `airflow/mxcrypt_dag.py` | a DAG of Airflow that tells of tasks that failed |
#' | `targets/_targets.R`, `run.R` | a pipeline that posts its result and which targets failed |
#' | `knitr/report.Rmd`, `render.R` | a report that posts its figures, and itself |
#' | `logger/log.R` | warnings and errors of a log |
#' | `webhook/plumber.R` | alerts of Grafana and Alertmanager, events of GitHub |
#' | `shiny/app.R` | a room in a browser |
#' | `bot/bot.R` | a bot of two commands |
#'
#' @section A bot in a container:
#' `system.file("container", package = "mxcrypt")` has a `Dockerfile`, a `compose.yaml` and
#' the bot that they run. The bot needs its password and the recovery key of its account,
#' as files (see [mxcrypt_secrets]). On an empty disk it becomes a new verified device, and the
#' device of the disk that was lost is signed out: see `sign_out_lost` of
#' [mx_crypto_setup()]. It reads what was said meanwhile as far as the keys are in the key
#' backup. Keys that were made while no device of the bot was there reach only a
#' [dehydrated device][mx_dehydrated_device_create()]. Messages that were not sent
#' yet are lost with the disk.
#'
#' Run one container at a time: of two with the same device name, one that starts with an
#' empty disk signs out the other. A bot whose store is in a database needs no disk, and can run
#' several times: see [mxcrypt_postgresql].
#' @family bots
#' @seealso [mxcrypt_secrets] and [mx_client_configure()], for a login that lasts.
#' @name mxcrypt_recipes
#' @aliases recipes
#' @examples
#' recipes <- system.file("recipes", package = "mxcrypt")
#' list.files(recipes, recursive = TRUE)
#' writeLines(readLines(file.path(recipes, "cron", "nightly.R")))
NULL
