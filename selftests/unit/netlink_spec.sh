#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The netlink family's specification and its C header say the same: all names, in
# the same order, so that the numbers are the same as well; and the specification
# agrees with itself.

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

# What the specification refers to, it has; and it uses what netlink's schema knows.
references()
{
	python3 - <<-'END'
		import sys, yaml

		TYPES = "pad flag binary u8 u16 u32 u64 s32 s64 string nest array-nest".split()
		spec = yaml.safe_load(open("ringlet.yaml"))
		bad = []

		def need(what, name, where):
		    if name not in where:
		        bad.append(f"{what}: there is no {name}")

		for key in ("name", "doc", "attribute-sets", "operations"):
		    need("specification", key, spec)
		enums = {d["name"] for d in spec["definitions"]}
		sets = {s["name"]: {a["name"]: a for a in s["attributes"]} for s in spec["attribute-sets"]}
		groups = {g["name"] for g in spec["mcast-groups"]["list"]}
		ops = {o["name"]: o for o in spec["operations"]["list"]}
		for name, attrs in sets.items():
		    for a in attrs.values():
		        need(f"{name}.{a['name']}", a["type"], TYPES)
		        need(f"{name}.{a['name']}", a.get("enum"), enums | {None})
		        need(f"{name}.{a['name']}", a.get("nested-attributes"), sets.keys() | {None})
		        if (a["type"] == "nest") != ("nested-attributes" in a):
		            bad.append(f"{name}.{a['name']}: a nest and its set go together")
		for name, op in ops.items():
		    need(name, "doc", op)
		    need(name, op.get("notify"), ops.keys() | {None})
		    if "notify" in op:
		        op["attribute-set"] = ops[op["notify"]]["attribute-set"]
		    need(name, op["attribute-set"], sets)
		    need(name, op.get("mcgrp"), groups | {None})
		    if name.endswith("-ntf") != ("mcgrp" in op):
		        bad.append(f"{name}: events, and nothing else, have a group")
		    lists = [op["event"]["attributes"]] if "event" in op else []
		    for way in ("do", "dump"):
		        lists += [m["attributes"] for m in op.get(way, {}).values()]
		    for attr in (a for l in lists for a in l):
		        need(name, attr, sets[op["attribute-set"]])
		print("\n".join(bad))
		sys.exit(1 if bad else 0)
	END
}

failed=0
check()			# check NUMBER NAME STATUS: what "$out" has is why
{
	if [ "$3" = 0 ]; then
		echo "ok $1 $2"
		return
	fi
	sed 's/^/# /' "$out"
	echo "not ok $1 $2"
	failed=1
}

out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
echo "TAP version 13"
echo "1..2"
from_spec | grep -q . && diff <(from_spec) <(from_header) > "$out"
check 1 names $?
if python3 -c 'import yaml' 2> /dev/null; then
	references > "$out" 2>&1
	check 2 references $?
else
	echo "ok 2 references # SKIP no python3-yaml"
fi
exit $failed
