#!/bin/sh
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Prepare an empty data directory from the variables of the official image, then become the server.
set -eu

data=/var/lib/mysql
root_password=${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-}}
database=${MARIADB_DATABASE:-${MYSQL_DATABASE:-}}
user=${MARIADB_USER:-${MYSQL_USER:-}}
password=${MARIADB_PASSWORD:-${MYSQL_PASSWORD:-}}
random_root=${MARIADB_RANDOM_ROOT_PASSWORD:-${MYSQL_RANDOM_ROOT_PASSWORD:-}}
empty_root=${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-${MYSQL_ALLOW_EMPTY_PASSWORD:-}}

# A value as an SQL string: backslashes and single quotes are all that can end it.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g")"; }

# Not echo, which would read backslashes in a password.
sql() { printf '%s\n' "$1"; }

statements() {
    health_password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077; printf '[client]\nuser=healthcheck\npassword=%s\n' "$health_password" >"$data/.my-healthcheck.cnf")
    sql "CREATE USER healthcheck@'127.0.0.1' IDENTIFIED BY '$health_password';"
    sql "GRANT USAGE ON *.* TO healthcheck@'127.0.0.1';"
    sql "CREATE USER root@'%' IDENTIFIED BY $(quoted "$root_password");"
    sql "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    [ -z "$database" ] || sql "CREATE DATABASE \`$database\`;"
    if [ -n "$user" ]; then
        sql "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
        [ -z "$database" ] || sql "GRANT ALL ON \`$database\`.* TO $(quoted "$user")@'%';"
    fi
    sql "ALTER USER root@localhost IDENTIFIED BY $(quoted "$root_password");"
}

prepare() {
    if [ -z "$root_password$random_root$empty_root" ]; then
        echo "The database is uninitialised and no MARIADB_ROOT_PASSWORD is given." >&2
        exit 1
    fi
    [ -z "$random_root" ] || root_password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    chown mysql:mysql "$data"
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db >/dev/null
    statements >/run/mysqld/prepare.sql
    # Without the network, so that nobody takes the half-prepared server for a healthy one.
    mariadbd --user=mysql --skip-networking &
    server=$!
    until mariadb-admin --silent ping >/dev/null 2>&1; do kill -0 "$server"; sleep 0.2; done
    mariadb </run/mysqld/prepare.sql
    rm /run/mysqld/prepare.sql
    chown mysql:mysql "$data/.my-healthcheck.cnf"
    kill "$server"
    wait "$server"
    : >"$data/.prepared"
}

[ "${1:-}" = mariadbd ] || exec "$@"
shift
[ -e "$data/.prepared" ] || prepare
exec mariadbd --user=mysql --bind-address='*' --skip-name-resolve "$@"
