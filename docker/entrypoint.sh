#!/bin/bash
# First process of the container: fetches the models of the graphs in TOLMACH_FETCH, then becomes `tolmach`.
#
# A fetch that fails does not keep the server from starting: graphs whose models are there work, the others say what they
# lack, and a restart policy does not turn a missing network into a loop of downloads.
set -euo pipefail

say() { printf 'tolmach: %s\n' "$*" >&2; }

if ! mkdir -p "$TMPDIR" 2>/dev/null || [[ ! -w $TMPDIR ]]; then
    say "user $(id -u) cannot write to $TMPDIR. A named volume is right from the start; a folder of the host needs:" \
        "chown -R $(id -u):$(id -g) FOLDER"
    exit 1
fi
# What a container that was killed while it loaded a model has left behind.
find "$TMPDIR" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +

# In the background, because a shell that is process 1 ends at SIGTERM only if it says so, and only while it waits.
fetch() {
    tolmach fetch "$1" &
    local child=$!
    # shellcheck disable=SC2064  # the child of now
    trap "kill $child; exit 143" TERM INT
    wait "$child"
}

if [[ ${1:-} == serve ]]; then
    read -ra graphs <<<"${TOLMACH_FETCH:-}"
    missing=()
    for graph in "${graphs[@]}"; do
        fetch "$graph" || missing+=("$graph")
    done
    if ((${#missing[@]})); then
        say "models are missing for: ${missing[*]}. Why is said above. The server starts without them."
        say "- a download broke off: start again, and it goes on where it was"
        say "- a voice of your own was refused: allow its digest with TOLMACH_ALLOW_SHA256, and start again"
        say "- no network: docs/RUNBOOK.md, 'Offline', says how to carry the models here"
        say "- not wanted: set TOLMACH_FETCH to the graphs that you use, or to nothing"
    fi
fi

exec tolmach "$@"
