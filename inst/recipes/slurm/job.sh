#!/bin/bash
#SBATCH --job-name=fit
#SBATCH --time=01:00:00
#SBATCH --signal=B:TERM@60
# A Slurm job that tells a room how it ended, also if its time is over.
# Run: sbatch --export=ALL,MXCRYPT_ROOM='#ops:example.org' job.sh fit.R
# Needs: mxcrypt in the PATH (see ?mx_cli); a login on the nodes; a network there.
ended() {
  status=$?
  mxcrypt send "$MXCRYPT_ROOM" \
    "Job ${SLURM_JOB_ID:-?} (${SLURM_JOB_NAME:-?}) on $(uname -n): status $status after $SECONDS s"
  exit "$status"
}
trap ended EXIT
# Slurm sends this a minute before the time is over, and bash hears it only while it waits.
trap 'kill "$job"; exit 143' TERM
Rscript "$@" &
job=$!
wait "$job"
