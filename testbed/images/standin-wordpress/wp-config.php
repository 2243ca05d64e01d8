<?php
// Copyright: serverkit.core contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The official image reads its settings from the environment, or from the file that NAME_FILE points at.
function getenv_docker(string $name, string $default): string
{
    $file = getenv($name . '_FILE');
    if ($file !== false) {
        return rtrim(file_get_contents($file), "\r\n");
    }
    $value = getenv($name);
    return $value === false ? $default : $value;
}

define('DB_HOST', getenv_docker('WORDPRESS_DB_HOST', 'mysql'));
define('DB_NAME', getenv_docker('WORDPRESS_DB_NAME', 'wordpress'));
define('DB_USER', getenv_docker('WORDPRESS_DB_USER', 'example username'));
define('DB_PASSWORD', getenv_docker('WORDPRESS_DB_PASSWORD', 'example password'));
define('DB_CHARSET', getenv_docker('WORDPRESS_DB_CHARSET', 'utf8mb4'));
define('DB_COLLATE', getenv_docker('WORDPRESS_DB_COLLATE', ''));
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $use) {
    define($use . '_KEY', getenv_docker('WORDPRESS_' . $use . '_KEY', sha1($use . 'key' . DB_PASSWORD)));
    define($use . '_SALT', getenv_docker('WORDPRESS_' . $use . '_SALT', sha1($use . 'salt' . DB_PASSWORD)));
}
$table_prefix = getenv_docker('WORDPRESS_TABLE_PREFIX', 'wp_');
define('WP_DEBUG', (bool) getenv_docker('WORDPRESS_DEBUG', ''));

// Behind a proxy that ends TLS, WordPress would else redirect to plain HTTP for ever.
if (strpos($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '', 'https') !== false) {
    $_SERVER['HTTPS'] = 'on';
}
$extra = getenv_docker('WORDPRESS_CONFIG_EXTRA', '');
if ($extra !== '') {
    eval($extra);
}
if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
