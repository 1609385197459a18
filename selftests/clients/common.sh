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

# unpack_debs NAME PACKAGE...: download these Debian packages, without installing them,
# and unpack them in build/clients/NAME.  APT_OPTIONS are more options for apt-get.
unpack_debs()
{
	local out=$CACHE/$1
	shift

	[ "$(cat "$out/.done" 2> /dev/null)" != "$*" ] || return 0
	say "getting $*"
	rm -rf "$out"
	mkdir -p "$out/debs"
	(
		cd "$out/debs" || exit 1
		apt=(apt-get -qq -o APT::Sandbox::User=root ${APT_OPTIONS+"${APT_OPTIONS[@]}"})
		"${apt[@]}" download "$@" > /dev/null 2>&1 ||
			{ "${apt[@]}" update > /dev/null; "${apt[@]}" download "$@" > /dev/null; }
	) || die "cannot download $*"
	for deb in "$out"/debs/*.deb; do
		dpkg-deb -x "$deb" "$out" || die "cannot unpack $deb"
	done
	rm -r "$out/debs"
	echo "$*" > "$out/.done"
}

# run_unpacked NAME PROGRAM ARGUMENT...: a program out of such packages.
run_unpacked()
{
	local dir=$CACHE/$1
	shift

	LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu "$dir/$1" "${@:2}"
}

# stage_unpacked ROOT NAME PROGRAM: into the host at its place, with its libraries.
stage_unpacked()
{
	local dir=$CACHE/$2 missing

	export LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu:$dir/lib/x86_64-linux-gnu
	missing=$(ldd "$dir/$3" | sed -n 's/ => not found//p')
	stage_file "$1" "$dir/$3" "/$3"
	unset LD_LIBRARY_PATH
	# What was unpacked lies in the host as if it were installed.
	if [ -d "$1$dir" ]; then
		cp -a "$1$dir/." "$1" && rm -r "${1:?}$dir"
		(cd "$1" && dir=${dir#/} && rmdir -p --ignore-fail-on-non-empty "${dir%/*}")
	fi
	[ -z "$missing" ] || die "$3 lacks $missing"
}

# unpack_i386: Debian's 32-bit kernel and busybox in build/clients/i386, from package
# lists of our own, so that this machine need not know about another architecture.
unpack_i386()
{
	local kernel
	local -a APT_OPTIONS=(-o "APT::Architectures::=amd64" -o "APT::Architectures::=i386"
		-o "Dir::State::Lists=$CACHE/apt/lists" -o "Dir::Cache=$CACHE/apt/cache"
		-o "APT::Sandbox::User=root" -o "Acquire::Languages=none")

	[ ! -e "$CACHE/i386/.done" ] || return 0
	say "reading the package lists of i386"
	mkdir -p "$CACHE"/apt/{lists,cache/archives}/partial
	apt-get -qq "${APT_OPTIONS[@]}" update > /dev/null 2>&1
	kernel=$(apt-cache "${APT_OPTIONS[@]}" depends linux-image-686:i386 |
		sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
	unpack_debs i386 "${kernel:?}" busybox-static:i386
	rm -rf "$CACHE/apt"
}
