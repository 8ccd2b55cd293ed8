# What every runbook here does: plan, apply under a watchdog, look, keep it or take it back. Sourced, not run.
#
#   SOURCE    the fabric; --live by default, asked of the subnet manager's machine
#   DRIVER    how it is reached (fabctl help drivers); opensm by default, in `fabctl twin run` its own
#   MINUTES   how long the new values stay without a confirmation: 10
#   CHECK     a command that must succeed before they are kept, like a short job of yours; by default none
#   DISRUPTIVE=1  the subnet manager may restart
#
# Exit code 0: in force, read back, kept. 1: kept, and something does not hold any more. 7: CHECK failed, the old values are in
# force. Any other is fabctl's own (fabctl help exit-codes); `fabctl offload recover` ends what was cut off.

set -euo pipefail

SOURCE=${SOURCE:---live}
DRIVER=${DRIVER:-$([[ -n ${FABCTL_TWIN:-} ]] && echo twin || echo opensm)}
MINUTES=${MINUTES:-10}
CHECK=${CHECK:-true}

# change FEATURE [OPTION...]: the options are those of `fabctl offload plan`
change() {
    local folder plan applied id code=0
    folder=$(mktemp -d)
    trap "rm -rf '$folder'" EXIT
    plan=$folder/plan.json
    fabctl offload plan "$1" "$SOURCE" --driver "$DRIVER" "${@:2}" --save "$plan" || code=$?
    if ((code == 0)); then
        echo "runbook: nothing to change"
        return
    elif ((code != 1)); then
        exit "$code"
    fi
    applied=$(fabctl offload apply "$plan" --confirm "$MINUTES" ${DISRUPTIVE:+--allow-disruptive})
    echo "$applied"
    id=${applied#Operation } id=${id%%:*}    # of "Operation 7: ...": another fabric's may be newer in the history
    if ! bash -c "$CHECK"; then
        echo "runbook: '$CHECK' failed, taking operation $id back" >&2
        fabctl offload rollback "$id"
        exit 7
    fi
    fabctl offload confirm "$id"
    fabctl offload verify "$id"
    echo "runbook: kept; fabctl offload rollback $id takes it back"
}
