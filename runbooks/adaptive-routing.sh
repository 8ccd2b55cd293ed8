#!/usr/bin/env bash
# Adaptive routing by NVIDIA's subnet manager, for the service levels that want it.
#
#   DRIVER=ufm:url=https://ufm,auth=ufm.auth SOURCE=fabric.txt bash runbooks/adaptive-routing.sh
#
# When: static routes collide (fabctl route --adaptive says what it would give). Upstream OpenSM has none: it would ignore the
# option, route with minhop and say nothing; fabctl refuses it there. Applications that count on the order of messages keep off
# those service levels (SLS=0,2): the plan names NCCL's and UCX's settings.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

change adaptive-routing --set "engine=${ENGINE:-ar_updn}" ${SLS:+--set "sls=$SLS"}
