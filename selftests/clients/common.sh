# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts of this folder share, on top of testhost's common.sh: where
# things lie, and archives for the host's initramfs that are made once.

CLIENTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$CLIENTS/../testhost/common.sh"
. "$CLIENTS/../testhost/image.sh"
CACHE=$BUILD/clients

# cached NAME KEY COMMAND...: path of build/clients/NAME.cpio.  When it was not made
# for this key, COMMAND gets an empty folder as its last argument and fills it.
cached()
{
	local out=$CACHE/$1.cpio key=$2 root
	shift 2

	mkdir -p "$CACHE"
	(
		flock 8
		[ "$(cat "$out.key" 2> /dev/null)" = "$key" ] && exit 0
		rm -f "$out.key"
		root=$(mktemp -d "$CACHE/root.XXXXXX")
		trap 'rm -rf "$root"' EXIT
		"$@" "$root" >&2 && pack "$root" > "$out.new" && mv "$out.new" "$out" &&
			echo "$key" > "$out.key"
	) 8> "$out.lock" || die "cannot build $out"
	echo "$out"
}
