#!/bin/sh
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Like the official image: put WordPress into an empty /var/www/html, then become the server.
set -eu

root=/var/www/html
if [ "${1:-}" = apache2-foreground ] && [ ! -e "$root/index.php" ]; then
    # Debian keeps its libraries and themes behind symbolic links, which a copy on a volume must not depend on.
    cp --recursive --dereference --no-target-directory /usr/share/wordpress "$root" || [ -e "$root/index.php" ]
    cp /usr/local/share/wordpress/wp-config.php "$root/wp-config.php"
    chown --recursive www-data:www-data "$root"
fi
exec "$@"
