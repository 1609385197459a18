#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The netlink family's specification and its C header say the same: all names, in
# the same order, so that the numbers are the same as well.

cd "$(dirname "$0")/../../uapi" || exit 1

# Every enumerator that the specification stands for; what a line means follows from
# its indentation.
from_spec()
{
	awk '
		function c(name) { gsub(/-/, "_", name); return toupper(name) }
		/^[a-z-]+:/		{ part = $1 }
		part == "definitions:" && /^    name:/	{ set = c($2) }
		part == "definitions:" && /^    entries: \[/ {
			gsub(/.*\[|\]|,/, "")
			for (i = 1; i <= NF; i++)
				print "RINGLET_" set "_" c($i)
		}
		part == "definitions:" && /^        name:/ { print "RINGLET_" set "_" c($2) }
		part == "attribute-sets:" && /^    name:/ { set = c($2) }
		part == "attribute-sets:" && /^        name:/ { print "RINGLET_A_" set "_" c($2) }
		part == "operations:" && /^      name:/ { print "RINGLET_CMD_" c($2) }
	' ringlet.yaml
}

from_header()
{
	grep -o '^	RINGLET_[A-Z0-9_]*' linux/ringlet_netlink.h | tr -d '\t' | grep -v '_MAX$'
}

out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
echo "TAP version 13"
echo "1..1"
if from_spec | grep -q . && diff <(from_spec) <(from_header) > "$out"; then
	echo "ok 1 names"
	exit 0
fi
sed 's/^/# /' "$out"
echo "not ok 1 names"
exit 1
