#!/usr/bin/env bash
# Service levels onto virtual lanes of their own, on every switch and HCA.
#
#   bash runbooks/qos.sh                                  where OpenSM runs
#   fabctl twin run fabric.txt -- bash runbooks/qos.sh    rehearsed on a twin of the fabric
#
# When: storage, control and training share cables and must not share buffers. SL2VL gives the lane of service levels 0 to 15.
# Traffic goes on; OpenSM sweeps. What was in the tables before comes back by rollback, although OpenSM's own `qos FALSE` would
# leave the new ones there.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

change qos --set "sl2vl=${SL2VL:-0,1,2,3,0,1,2,3,0,1,2,3,0,1,2,15}"
