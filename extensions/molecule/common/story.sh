# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Sourced by a scenario's story, which is called as: story RESULTS PLAYBOOK-COMMAND... One deploy comes after the other,
# while somebody else sends the requests. Each one's output goes to RESULTS/<name>.log, too, its exit code to
# RESULTS/<name>.rc, when it began and ended to RESULTS/<name>.times.
set -euo pipefail

results="$1"
shift
command=("$@")
# A deploy that is still on when this ends would work on the hosts of the next scenario.
trap wait EXIT
common="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

play() { # play NAME PLAYBOOK VARIABLES...: its name is the deploy's id
    local name="$1" rc=0
    date +%s.%N > "$results/$name.times"
    "${command[@]}" "zero.downtime.$2" "${@:3}" -e deploy_id="$name" 2>&1 | tee "$results/$name.log" || rc=$?
    date +%s.%N >> "$results/$name.times"
    echo "$rc" > "$results/$name.rc"
}

note() { # note NAME: what all hosts say at this moment
    python3 "$common/look.py" "$results" "$1"
}

# No condition comes later than that, even on a machine with much else to do.
PATIENCE=600

until_so() { # until_so WHAT COMMAND...: wait until the command succeeds
    local what="$1" end=$((SECONDS + PATIENCE)) saw=''
    shift
    until saw="$("$@" 2>&1)"; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "gave up: waited $PATIENCE s until $what; $* said last: $saw"
            exit 1
        fi
        sleep 0.1
    done
}

balancer() { # balancer NAME WORDS: tell HAProxy something, or ask it
    podman exec "$1" sh -c "echo '$2' | socat - /run/haproxy/admin.sock"
}
