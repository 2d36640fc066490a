# shellcheck shell=bash disable=SC2154
# MySQL 9.7: the server makes its initial data and the accounts in one run, which serves no client.
# The passwords go through a pipe: no list of processes shows them.
initialise() {
	local root user database grantee
	root=$(quote "$MYSQL_ROOT_PASSWORD") user="$(quote "$MYSQL_USER")@'%'"
	# In the name of a database that rights are given for, _ and % stand for any characters.
	database=\`${MYSQL_DATABASE//\`/\`\`}\` grantee=${database//_/\\_}
	"$@" --validate-config || die "mysqld refuses its options ($*): run 'mysqld --verbose --help' with them to see why"
	# Until all of it is on the disk the data folder counts as empty: the server needn't see to that after each step. No replica reads a log of it.
	"$@" --initialize-insecure --skip-log-bin --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=OFF --init-file=<(
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
	) || die "the accounts can't be made: see the server's lines above, set MYSQL_DATABASE, MYSQL_USER and their like to what MySQL takes"
	[[ -s $data/mysql.ibd ]] || die "$data was changed while it was initialised: start the container again"
}
