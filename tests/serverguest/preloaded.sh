#!/bin/sh
# preloaded COMMAND...: what preload.py runs instead of the command's own program
cd /run/preload || exit
printf '%s ' "$@" > orders
cat answers
read -r status < status
exit "$status"
