# shellcheck shell=bash disable=SC2154
# MySQL 5.6: the initial data is a copy, and the accounts are rows, as the server's bootstrap knows no accounts.
# The password goes through a pipe: no list of processes shows it.
initialise() {
	local root_host user database
	root_host=$(quote "$MYSQL_ROOT_HOST") user=$(quote "$MYSQL_USER") database=$(quote "$MYSQL_DATABASE")
	cp --recursive --no-preserve=ownership /usr/share/mysql-5.6/initial-data/. "$data/"
	{
		echo "USE mysql;"
		echo "DELETE FROM user WHERE NOT (User = 'root' AND Host = 'localhost');"
		echo "DELETE FROM db;"
		echo "DELETE FROM proxies_priv WHERE Host <> 'localhost';"
		echo "UPDATE user SET Password = PASSWORD($(quote "$MYSQL_ROOT_PASSWORD"));"
		if [[ -n $MYSQL_ROOT_HOST && $MYSQL_ROOT_HOST != localhost ]]; then
			echo "CREATE TEMPORARY TABLE root_from_afar SELECT * FROM user;"
			echo "UPDATE root_from_afar SET Host = $root_host;"
			echo "INSERT INTO user SELECT * FROM root_from_afar;"
		fi
		if [[ -n $MYSQL_DATABASE ]]; then
			echo "CREATE DATABASE IF NOT EXISTS \`${MYSQL_DATABASE//\`/\`\`}\`;"
		fi
		if [[ -n $MYSQL_USER ]]; then
			echo "INSERT INTO user (Host, User, Password, ssl_cipher, x509_issuer, x509_subject, authentication_string)" \
				"VALUES ('%', $user, PASSWORD($(quote "$MYSQL_PASSWORD")), '', '', '', '');"
			if [[ -n $MYSQL_DATABASE ]]; then
				# Every right on the database but GRANT, the seventh, as GRANT ALL gives it.
				echo "INSERT INTO db VALUES ('%', $database, $user," \
					"'Y','Y','Y','Y','Y','Y','N','Y','Y','Y','Y','Y','Y','Y','Y','Y','Y','Y','Y');"
			fi
		fi
	} | "$@" --bootstrap
	[[ -s $data/mysql/user.MYD ]] || die "$data was changed while it was initialised: start the container again"
}
