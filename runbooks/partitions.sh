#!/usr/bin/env bash
# A partition of its own for some hosts: they reach each other by its P_Key, everybody else stays out.
#
#   KEY=0x12 NAME=tenant MEMBERS='node-[0001-0016]' bash runbooks/partitions.sh
#   fabctl twin run fabric.txt -- env KEY=0x12 NAME=tenant MEMBERS='node-[0001-0002]' bash runbooks/partitions.sh
#
# When: a tenant comes. MEMBERS are hosts of the fabric, full members; the default partition stays as it is. Traffic goes on.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

: "${KEY:?the P_Key, like KEY=0x12}" "${NAME:?what the partition is called}" "${MEMBERS:?hosts, like MEMBERS='node-[0001-0016]'}"

change partitions --set "key=$KEY" --set "name=$NAME" --set "members=$MEMBERS"
