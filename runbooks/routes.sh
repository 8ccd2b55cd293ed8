#!/usr/bin/env bash
# Other routes into the running OpenSM: computed and proved by fabctl, every switch's table read back.
#
#   ENGINE=ftree DISRUPTIVE=1 bash runbooks/routes.sh
#   fabctl twin run fabric.txt -- env DISRUPTIVE=1 bash runbooks/routes.sh
#
# When: `fabctl route compare` shows that another engine serves the fabric better. The first time OpenSM has to restart with its
# `file` engine (DISRUPTIVE=1): routing_engine is heeded at its start only, and a HUP would ignore it in silence. From then on new
# tables come with a sweep. Routes that could deadlock are refused.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

change routes --set "engine=${ENGINE:-ftree}"
