#!/usr/bin/env bash
# Runs a command in the sourced workspace.
set -e
source /ws/install/setup.bash
exec "$@"
