# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real database servers of the distribution on the server, listening where containers reach them."""

from __future__ import annotations

from server import Server

_INSTALL = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
if test -e /root/databases-ready; then exit; fi
apt-get update -q >&2
apt-get install -qy --no-install-recommends mariadb-server postgresql python3-pymysql python3-psycopg2 zstd >&2
bridge=$(ip -4 -o address show docker0 | awk '{split($4, address, "/"); print address[1]}')
printf '[mysqld]\nbind-address = 127.0.0.1,%s\n' "$bridge" >/etc/mysql/mariadb.conf.d/99-benchmark.cnf
cd /etc/postgresql/*/main
echo "listen_addresses = '127.0.0.1,$bridge'" >conf.d/benchmark.conf
echo 'host all all 172.16.0.0/12 scram-sha-256' >>pg_hba.conf
systemctl restart mariadb postgresql
touch /root/databases-ready
"""
_VERSIONS = "mariadb --version | grep -o '[0-9][0-9.]*-MariaDB'; psql --version | cut -d' ' -f3"


def install(server: Server) -> None:
    server.run(_INSTALL)


def versions(server: Server) -> dict[str, str]:
    return dict(zip(("MariaDB", "PostgreSQL"), server.run(_VERSIONS).splitlines(), strict=True))
