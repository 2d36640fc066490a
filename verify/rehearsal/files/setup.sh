#!/bin/bash
# What a user's host gets while it has internet, in the checkout $1. The parts of the output are those of parts.sh.
set -u
cd "$1" || exit
# shellcheck source=parts.sh
. /tmp/parts.sh
part "setup" make setup
