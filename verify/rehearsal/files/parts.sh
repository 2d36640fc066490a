# shellcheck shell=bash
# For a script whose output is read: each part of it begins with a line of its name and ends with the status.
part() {
	echo "--- $1"
	shift
	"$@" 2>&1
	local status=$?
	echo "status $status"
	return "$status"
}
