#!/bin/sh
# Usage: tlsname_nginx.sh FOLDER
# Unpacks an nginx into FOLDER, unless the installed one will do. Tests read the TLVs of PROXY headers from variables
# that nginx has from 1.23.2 on. Debian 12 has 1.22, and that of Debian 13 runs there. Nothing is installed, so nobody
# need be root: apt-get gets a list of packages of its own, from where the machine gets its others.
set -eu
folder=$1

enough() { # whether a program is an nginx of at least that version
	version=$("$1" -v 2>&1 | sed -n 's|^nginx version: nginx/\([0-9.]*\).*|\1|p')
	[ -n "$version" ] && printf '1.23.2\n%s\n' "$version" | sort --version-sort --check=quiet
}

if enough nginx || enough "$folder/usr/sbin/nginx"; then
	exit 0
fi
. /etc/os-release
mirror=
find_mirror() {
	mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
		'Created-By: Packages' 'Release: bookworm' 'Component: main' | head -n 1)
}
if [ "${VERSION_CODENAME-}" = bookworm ]; then
	find_mirror
	if [ -z "$mirror" ] && [ "$(id -u)" = 0 ]; then # a machine that has never asked for its lists
		apt-get update -q
		find_mirror
	fi
fi
if [ -z "$mirror" ]; then
	echo "The tests need nginx 1.23.2 or later. Install one, or unpack it to $folder/usr/sbin/nginx."
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache" "$folder"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$work/sources.list"
apt() {
	apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
apt update
(cd "$work" && apt download nginx/trixie && dpkg --extract nginx_*.deb unpacked)
mkdir -p "$folder/usr/sbin"
mv "$work/unpacked/usr/sbin/nginx" "$folder/usr/sbin/nginx"
enough "$folder/usr/sbin/nginx"
