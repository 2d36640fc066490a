# shellcheck shell=bash disable=SC2154
# MySQL 9.7: the server makes its initial data, then runs once more, without a port, until a client has made the accounts.
# The passwords go through a pipe: no list of processes shows them.
initialise() {
	local root user database grantee socket=/var/run/mysqld/initialise.sock server
	root=$(quote "$MYSQL_ROOT_PASSWORD") user="$(quote "$MYSQL_USER")@'%'"
	# In the name of a database that rights are given for, _ and % stand for any characters.
	database=\`${MYSQL_DATABASE//\`/\`\`}\` grantee=${database//_/\\_}
	"$@" --validate-config || die "mysqld refuses its options ($*): run 'mysqld --verbose --help' with them to see why"
	"$@" --initialize-insecure
	rm -f "$socket"
	"$@" --skip-networking --mysqlx=OFF --socket="$socket" &
	server=$!
	# The socket is there a moment before somebody listens to it.
	until [[ -S $socket ]] && mysql --no-defaults --socket="$socket" --user=root --execute="DO 0" 2>/dev/null; do
		kill -0 "$server" 2>/dev/null || die "the server ended before the accounts were made: its lines above say why"
		sleep 0.2
	done
	{
		# None of it belongs into a log that a replica reads.
		echo "SET sql_log_bin = 0;"
		if [[ -n $MYSQL_ROOT_HOST && $MYSQL_ROOT_HOST != localhost ]]; then
			echo "CREATE USER 'root'@$(quote "$MYSQL_ROOT_HOST") IDENTIFIED BY $root;"
			echo "GRANT ALL ON *.* TO 'root'@$(quote "$MYSQL_ROOT_HOST") WITH GRANT OPTION;"
		fi
		if [[ -n $MYSQL_DATABASE ]]; then
			echo "CREATE DATABASE IF NOT EXISTS $database;"
		fi
		if [[ -n $MYSQL_USER ]]; then
			echo "CREATE USER $user IDENTIFIED BY $(quote "$MYSQL_PASSWORD");"
			if [[ -n $MYSQL_DATABASE ]]; then
				echo "GRANT ALL ON ${grantee//%/\\%}.* TO $user;"
			fi
		fi
		echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $root;"
		echo "SHUTDOWN;"
	} | mysql --no-defaults --socket="$socket" --user=root || {
		kill "$server"
		wait "$server"
		die "the accounts can't be made: see the line above, set MYSQL_DATABASE, MYSQL_USER and their like to what MySQL takes"
	}
	wait "$server"
	[[ -s $data/mysql.ibd ]] || die "$data was changed while it was initialised: start the container again"
}
