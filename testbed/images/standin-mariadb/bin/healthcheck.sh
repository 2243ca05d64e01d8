#!/bin/sh
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The checks of the official image: --connect (over TCP) and --innodb_initialized. Others are refused, not passed over.
set -eu

query() { mariadb --defaults-file=/var/lib/mysql/.my-healthcheck.cnf --protocol=tcp --host=127.0.0.1 -N -B -e "$1"; }

[ $# -gt 0 ] || { echo "healthcheck.sh: which test? (--connect, --innodb_initialized)" >&2; exit 1; }
for test in "$@"; do
    case $test in
        --connect) query 'SELECT 1' >/dev/null ;;
        --innodb_initialized)
            found=$(query "SELECT 1 FROM information_schema.ENGINES WHERE engine='InnoDB' AND support IN ('YES','DEFAULT')")
            [ "$found" = 1 ] ;;
        *) echo "healthcheck.sh: this stand-in does not know $test" >&2; exit 1 ;;
    esac
done
