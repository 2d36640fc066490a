#!/bin/bash
# What a student's host gets while it has internet, in the checkout $1. Each part of the output begins with a line of its name.
set -u
cd "$1" || exit
echo "--- setup"
make setup 2>&1
echo "status $?"
