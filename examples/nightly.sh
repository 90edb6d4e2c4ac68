#!/bin/sh
# A recurring sweep in Kubeflow Pipelines: every night at 3:00 (UTC), ten more trials of one study.
#   KF_PIPELINES_ENDPOINT=http://localhost:8080 sh examples/nightly.sh
# `katibflow list`, `show` and `best` tell what came of each night.
set -eu
exec katibflow submit "$(dirname "$0")/sklearn.yaml" --name nightly --layout controller \
    --schedule "0 3 * * *" --resume all --max-trials +10
