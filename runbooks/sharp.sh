#!/usr/bin/env bash
# In-network computing: switches reduce. First whether this job can stream at all and what it gains, then NVIDIA's switches on.
#
#   JOB=train.yaml DRIVER=ufm:url=https://ufm,auth=ufm.auth SOURCE=fabric.txt bash runbooks/sharp.sh
#
# When: all-reduces of the job are larger than what latency costs. The first command names the job's trees by root and depth, how
# many such jobs can stream at once, and what binds if not one more can; it ends with 5 or 6 where this one cannot.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

code=0
fabctl offload plan sharp "$SOURCE" ${JOB:+--job "$JOB"} ${NODE:+--node "$NODE"} || code=$?
((code <= 1)) || exit "$code"

change sharp ${JOB:+--job "$JOB"}
