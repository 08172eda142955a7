# A pipeline whose last target posts what came out. run.R tells how it ended.
# Run: Rscript run.R, in the directory of this file.
# Needs: targets; a room in MXCRYPT_ROOM; a login (mx_client_configure(), once).
library(targets)
# With workers: tar_option_set(controller = crew::crew_controller_local(workers = 2))

list(
  tar_target(data, datasets::cars),
  tar_target(model, lm(dist ~ speed, data)),
  tar_target(
    posted,
    mxcrypt::mx_notify("Coefficients", as.data.frame(coef(summary(model)))),
    deployment = "main"
  )
)
