#!/bin/bash
# Starts MySQL as the official image does, from the same environment variables:
# MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD, MYSQL_ROOT_HOST, MYSQL_DATABASE, MYSQL_USER, MYSQL_PASSWORD
# (each but the second also as ..._FILE). A command other than mysqld is run as it is.
#
# The first start on an empty data folder is all or nothing: the file .initialising is there from before
# the first write until all is on the disk. A start that finds it begins anew. A folder that holds data and
# no such file is never touched.
set -euo pipefail

say() { printf 'entrypoint: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Take the value of $1 from the file named in $1_FILE, or else the default $2.
from_file() {
	local name=$1 file="$1_FILE"
	[[ -z ${!name-} || -z ${!file-} ]] || die "$name and $file are both set: set one of them"
	if [[ -n ${!file-} ]]; then
		[[ -r ${!file} ]] || die "$file names ${!file}, which can't be read: mount the secret there"
		printf -v "$name" '%s' "$(<"${!file}")"
	elif [[ -z ${!name-} ]]; then
		printf -v "$name" '%s' "${2-}"
	fi
	unset "$file"
}

# Quote a string for SQL, on one line: a server that reads statements at its start takes a semicolon at the end of a line for the end.
quote() {
	local text=${1//\\/\\\\}
	text=${text//\'/\\\'}
	text=${text//$'\n'/\\n}
	printf "'%s'" "${text//$'\r'/\\r}"
}

[[ ${1-} != -* ]] || set -- mysqld "$@"
# Another program, or mysqld asked for its help, has no use for a data folder.
[[ ${1-} == mysqld ]] || exec "$@"
for word in "$@"; do
	case $word in -'?' | --help | --print-defaults | -V | --version) exec "$@" ;; esac
done

# Where the data lies is mysqld's to say. As root this script runs a first time; the second time it has been told.
if [[ -z ${ENTRYPOINT_DATA-} ]]; then
	settings=$("$@" --user=mysql --verbose --help 2>/dev/null) ||
		die "mysqld refuses its options ($*): run 'mysqld --verbose --help' with them to see why"
	ENTRYPOINT_DATA=$(awk '$1 == "datadir" { print $2 }' <<<"$settings")
fi
data=${ENTRYPOINT_DATA%/}
unset ENTRYPOINT_DATA
umask 077
# mysqld takes the limit that it's started with where that is higher than its own setting, and sizes its tables by it.
ulimit -S -n 4096

if [[ $(id -u) == 0 ]]; then
	mkdir -p "$data"
	# An NFS export may refuse chown and still let mysql write, if the folder is its own already.
	find "$data" \! -user mysql -exec chown mysql:mysql '{}' + 2>/dev/null || say "chown of $data is refused: going on with the owners it has"
	chown mysql:mysql /var/run/mysqld
	# Secrets are readable to root only, often: read them before stepping down.
	for name in MYSQL_ROOT_PASSWORD MYSQL_ROOT_HOST MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD; do
		from_file "$name"
		export "${name?}"
	done
	export ENTRYPOINT_DATA=$data
	exec setpriv --reuid=mysql --regid=mysql --init-groups -- "${BASH_SOURCE[0]}" "$@"
fi
[[ -w $data ]] || die "the data folder $data can't be written by user $(id -u): give it to that user on the server"

marker=$data/.initialising

has_data() { [[ -d $data/mysql ]]; }

# Gives `initialise`, which writes the initial data and the accounts with the command line that it gets: it differs from series to series.
# shellcheck source=/dev/null
source /usr/local/lib/docker-entrypoint/initialise.sh

if ! has_data || [[ -e $marker ]]; then
	from_file MYSQL_ROOT_PASSWORD
	from_file MYSQL_ROOT_HOST %
	from_file MYSQL_DATABASE
	from_file MYSQL_USER
	from_file MYSQL_PASSWORD
	[[ -n $MYSQL_ROOT_PASSWORD || -n ${MYSQL_ALLOW_EMPTY_PASSWORD-} ]] ||
		die "the data folder is empty and no password is given: set MYSQL_ROOT_PASSWORD, or MYSQL_ALLOW_EMPTY_PASSWORD=yes"
	# The lock stays for good, so that no start can take a lock on a file that another one has just removed.
	exec 9>>"$data/.initialising.lock"
	flock 9
	if [[ -e $marker ]] || ! has_data; then
		[[ ! -e $marker ]] || say "an earlier first start was cut short: beginning anew"
		strangers=$(find "$data" -mindepth 1 -maxdepth 1 \! -name lost+found \! -name '.initialising*' -print -quit)
		[[ -e $marker || -z $strangers ]] ||
			die "the data folder holds $strangers and no MySQL data: empty it, or mount another volume"
		: >"$marker"
		sync "$marker" "$data"
		find "$data" -mindepth 1 -maxdepth 1 \! -name lost+found \! -name '.initialising*' -exec rm -rf '{}' +
		say "initialising $data"
		initialise "$@"
		find "$data" -exec sync '{}' + # each file, and the folders that name them
		rm "$marker"
		sync "$data"
		say "initialised $data"
	fi
	exec 9>&-
fi
unset MYSQL_ROOT_PASSWORD MYSQL_PASSWORD
exec "$@"
