#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Everything on the server that a deployment could change. Left out is what logging in and time alone change.
set -eu
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /root/.ansible \
    -o -path /var/log -o -path /var/lib/systemd -o -name __pycache__ \) -prune \
    -o -printf '%p %y %m %u:%g %s %T@ %l\n' | sort
dpkg-query --show --showformat='${Package} ${Version} ${db:Status-Status}\n'
find /etc /var/serverkit -type f -exec sha256sum {} + 2>/dev/null | sort
if command -v docker >/dev/null; then
    docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort
    docker volume ls --format '{{.Name}}' | sort
    docker network ls --no-trunc --format '{{.ID}} {{.Name}}' | sort
    docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
fi
