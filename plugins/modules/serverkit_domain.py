#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: serverkit_domain
short_description: Serve apps by domain and by private URL through nginx
version_added: 1.0.0
author: "serverkit.core contributors (@serverkit-core)"
description:
  - Makes the nginx on the host answer for domains, with their aliases, and for private URLs
    (C(http://server/p/<slug>/)), and passes the requests on to an app's port on the loopback address.
  - An app has one file, C(/etc/nginx/sites-available/<app>), that is always written whole from the registry. A private
    URL has one of its own below C(/etc/nginx/serverkit/). Requests for names that nobody has get a 404 from the
    catch-all C(/etc/nginx/sites-available/serverkit) instead of somebody's app, and by HTTPS no handshake.
  - With O(tls), names are served by HTTPS (TLS 1.2 and 1.3, HTTP/2), and requests by HTTP are redirected there.
    Whatever options a name has, the paths by which certificates are ordered and renewed are answered by HTTP.
  - However many items a task has, the change is tested once in a private copy of the whole configuration, swapped in
    file by file without an invalid instant, and loaded by one reload. Then every name is asked until it answers with
    the new configuration. When any of this fails, the files and the registry are as they were before.
  - Files that this collection did not make are never touched. What is in the way is named, and nothing is changed.
options:
  app: &app
    description:
      - The app that is served.
      - Required for each item.
    type: str
    version_added: 1.0.0
  name: &name
    description:
      - The domain, in lower case, without a trailing dot. An international domain is written in its ASCII form
        (V(xn--mnchen-3ya.example)).
      - V(*.example.com) stands for every name one label longer. With O(tls=letsencrypt) it needs O(challenge=dns-01).
      - An item has either O(name) or O(private_url). An item with neither of them, and O(state=absent), means all names
        of the app.
    type: str
    version_added: 1.0.0
  aliases: &aliases
    description: Further domains that are served like O(name).
    type: list
    elements: str
    version_added: 1.0.0
  shared: &shared
    description:
      - Whether other hosts of the registry may have the domain, too, so that it is served by all of them. Each has to
        say so.
    type: bool
    default: false
    version_added: 1.0.0
  private_url: &private_url
    description:
      - Serve the app at C(/p/<slug>/) of the server's address, without a domain. The prefix is taken off on the way to
        the app and announced to it in C(X-Forwarded-Prefix), and put before the paths of redirects and cookies on the
        way back. Search engines are asked to keep out, browsers not to pass the address on, and the access log leaves
        the requests out.
      - With O(private_domain), the app is served at C(https://<slug>.<private_domain>/) instead, without a prefix.
      - An app has at most one. Of the options of a domain it takes O(basic_auth), O(buffering), O(max_body_size),
        O(timeouts) and O(websocket).
    type: bool
    default: false
    version_added: 1.0.0
  slug: &slug
    description:
      - The O(private_url)'s last part, 3 to 64 characters of a-z, 0-9 and inner hyphens.
      - Without it the app keeps the one it has, or gets a random one of 128 bits, which is as good as a password.
    type: str
    version_added: 1.0.0
  expires: &expires
    description:
      - >-
        When the O(private_url) ends: a time with its offset (V(2026-12-24T18:00:00+01:00)), or a duration from the run
        that first has it (V(30m), V(12h), V(7d), V(4w)).
      - From then on nginx answers as for a slug that never was, and the next run removes the files. The slug stays the
        app's own, and another O(expires) brings it back.
    type: str
    version_added: 1.0.0
  port: &port
    description:
      - The port on the loopback address that requests are passed on to.
      - Without it, it is the main port that the registry has for the app, and follows it.
    type: int
    version_added: 1.0.0
  max_body_size: &max_body_size
    description:
      - The largest request body, as nginx writes it (V(512k), V(64m), V(2g)); V(0) is any. Larger ones are answered
        with 413.
      - Without it, V(64m).
    type: str
    version_added: 1.0.0
  timeouts: &timeouts
    description: Seconds until nginx gives up on the app.
    type: dict
    version_added: 1.0.0
    suboptions:
      connect:
        description:
          - Until the app accepts the connection. nginx's own value is 60; V(5) where there are several O(upstreams).
        type: int
        version_added: 1.0.0
      read: &timeouts_read
        description: Between two pieces of the app's answer, and between two messages of a websocket. V(300) without it.
        type: int
        version_added: 1.0.0
      send: &timeouts_send
        description: Between two pieces of the request that the app takes. V(300) without it.
        type: int
        version_added: 1.0.0
  websocket: &websocket
    description: Whether to pass on requests that ask for an upgrade of the connection, as websockets do.
    type: bool
    default: true
    version_added: 1.0.0
  buffering: &buffering
    description:
      - Whether nginx takes a request in whole before the app gets it, and the answer at its own pace, so that slow
        clients do not keep the app busy.
      - V(false) passes each piece on at once, as server-sent events and very large uploads need it.
    type: bool
    default: true
    version_added: 1.0.0
  basic_auth: &basic_auth
    description:
      - Ask for a user and a password (RFC 7617). Use it with HTTPS.
      - The passwords are hashed (SHA-512 crypt) into a file below C(/etc/nginx/serverkit/auth/) that only nginx can
        read. One that still fits its hash is not hashed again.
    type: dict
    version_added: 1.0.0
    suboptions:
      users:
        description: Passwords by user.
        type: dict
        required: true
        version_added: 1.0.0
      realm:
        description: What the browser calls it.
        type: str
        default: Restricted
        version_added: 1.0.0
  allow: &allow
    description:
      - IP addresses, or ranges of them in CIDR form. All other addresses are refused with 403.
      - Where a proxy or CDN is in front, O(real_ip_from) has to name it.
    type: list
    elements: str
    version_added: 1.0.0
  deny: &deny
    description: IP addresses, or ranges of them in CIDR form, that are refused with 403, also when O(allow) has them.
    type: list
    elements: str
    version_added: 1.0.0
  headers: &headers
    description:
      - Headers that each answer gets, in place of the app's own of the same name. An empty text takes the app's header
        away.
    type: dict
    version_added: 1.0.0
  redirect_to: &redirect_to
    description:
      - >-
        Answer with a redirect instead of serving the app: from C(www) to the bare domain or the other way round, or
        from a domain that has moved.
    type: dict
    version_added: 1.0.0
    suboptions:
      host:
        description: The host to go to by the same scheme; path and query stay.
        type: str
        version_added: 1.0.0
      url:
        description: The URL to go to, instead of O(redirect_to.host).
        type: str
        version_added: 1.0.0
      code:
        description:
          - The status. V(301) and V(308) are remembered by browsers; V(307) and V(308) keep the method of a form.
        type: int
        choices: [301, 302, 307, 308]
        default: 301
        version_added: 1.0.0
      keep_path:
        description: Whether path and query of the request are put behind O(redirect_to.url).
        type: bool
        default: true
        version_added: 1.0.0
  rate_limit: &rate_limit
    description: Answer with 429 when more requests come than this.
    type: dict
    version_added: 1.0.0
    suboptions:
      requests:
        description: How many requests.
        type: int
        required: true
        version_added: 1.0.0
      per:
        description: Per what time.
        type: str
        choices: [second, minute]
        default: second
        version_added: 1.0.0
      burst:
        description: How many more may come at once, before the average is kept.
        type: int
        default: 0
        version_added: 1.0.0
      by:
        description:
          - Whether they are counted for each client's V(address), or for all of the V(domain) together.
          - IPv6 addresses count by their network of 64 bits, all of which one client can have.
        type: str
        choices: [address, domain]
        default: address
        version_added: 1.0.0
  cache_static: &cache_static
    description:
      - Have browsers keep files of certain kinds, unless the app says itself for how long, or sets a cookie with them.
    type: dict
    version_added: 1.0.0
    suboptions:
      max_age:
        description: For how many seconds.
        type: int
        default: 2592000
        version_added: 1.0.0
      extensions:
        description: The ends of the paths, without the dot. Without it, those of pictures, fonts, styles and scripts.
        type: list
        elements: str
        version_added: 1.0.0
  gzip: &gzip
    description:
      - Whether to compress text. Without it, nginx's own configuration decides.
      - Compressing pages that have both a secret and text from the request lets others guess the secret (BREACH).
    type: bool
    version_added: 1.0.0
  maintenance: &maintenance
    description: Answer with 503, a page that says so, and C(Retry-After).
    type: dict
    version_added: 1.0.0
    suboptions:
      retry_after:
        description: In how many seconds to come again.
        type: int
        default: 600
        version_added: 1.0.0
      allow:
        description: IP addresses, or ranges of them in CIDR form, that see the app meanwhile.
        type: list
        elements: str
        version_added: 1.0.0
  real_ip_from: &real_ip_from
    description:
      - Believe these proxies, and no one else, what the client's address and scheme are.
      - Without it, the app is told the address that the connection comes from, whatever the client writes into
        C(X-Forwarded-For).
    type: dict
    version_added: 1.0.0
    suboptions:
      ranges:
        description:
          - >-
            IP addresses, or ranges of them in CIDR form: those of the CDN or load balancer in front.
        type: list
        elements: str
        required: true
        version_added: 1.0.0
      header:
        description: The header in which they tell the client's address.
        type: str
        default: X-Forwarded-For
        version_added: 1.0.0
  upstreams: &upstreams
    description:
      - Several servers to which requests are passed on, instead of the app's port. One that fails is left alone for a
        while, and the request is tried with the next.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      host: &upstreams_host
        description: The IP address. Names are refused, since nginx does not start while one of them does not resolve.
        type: str
        default: 127.0.0.1
        version_added: 1.0.0
      port: &upstreams_port
        description: The port.
        type: int
        required: true
        version_added: 1.0.0
      weight: &upstreams_weight
        description: How many of the requests it gets, compared with the others.
        type: int
        default: 1
        version_added: 1.0.0
      max_fails:
        description:
          - After how many failed tries within O(upstreams[].fail_timeout) it is left alone for as long. nginx's own
            value is 1; 0 never does.
        type: int
        version_added: 1.0.0
      fail_timeout: &upstreams_fail_timeout
        description: Seconds. nginx's own value is 10.
        type: int
        version_added: 1.0.0
      backup: &upstreams_backup
        description: Whether it is asked only when all others fail.
        type: bool
        default: false
        version_added: 1.0.0
  balance: &balance
    description:
      - >-
        How one of O(upstreams) is chosen: in turn, the least busy, or always the same for an address.
    type: str
    choices: [round_robin, least_conn, ip_hash]
    default: round_robin
    version_added: 1.0.0
  keepalive: &keepalive
    description: How many idle connections to the app each worker of nginx keeps open; V(0) opens one for each request.
    type: int
    default: 32
    version_added: 1.0.0
  root: &root
    description: Serve a directory of files, without an app.
    type: dict
    version_added: 1.0.0
    suboptions: &root_options
      directory:
        description: The directory's absolute path. Files whose names begin with a dot are not served.
        type: str
        required: true
        version_added: 1.0.0
      index:
        description: What is served for a directory; the first that is there.
        type: list
        elements: str
        default: [index.html]
        version_added: 1.0.0
      spa:
        description:
          - Whether what is not there is answered with the index of the whole site, as an application that runs in the
            browser wants it.
        type: bool
        default: false
        version_added: 1.0.0
  paths: &paths
    description:
      - Parts of the domain that another app, port or directory answers. Each stands for itself and all that is below
        it.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      path:
        description: The path, such as V(/api).
        type: str
        required: true
        version_added: 1.0.0
      app:
        description:
          - The app of this host that answers, at its main port.
          - Without O(paths[].app), O(paths[].port), O(paths[].upstreams) and O(paths[].root), whoever answers for the
            domain does, or the item's app where that is no server.
        type: str
        version_added: 1.0.0
      port:
        description: The port on the loopback address that answers, instead of O(paths[].app).
        type: int
        version_added: 1.0.0
      upstreams:
        description: As O(upstreams), for the path.
        type: list
        elements: dict
        version_added: 1.0.0
        suboptions:
          host: *upstreams_host
          port: *upstreams_port
          weight: *upstreams_weight
          max_fails:
            description:
              - After how many failed tries within O(paths[].upstreams[].fail_timeout) it is left alone for as long.
                nginx's own value is 1; 0 never does.
            type: int
            version_added: 1.0.0
          fail_timeout: *upstreams_fail_timeout
          backup: *upstreams_backup
      balance:
        description: As O(balance), for the path.
        type: str
        choices: [round_robin, least_conn, ip_hash]
        default: round_robin
        version_added: 1.0.0
      root:
        description: As O(root), for the path.
        type: dict
        version_added: 1.0.0
        suboptions: *root_options
      strip:
        description:
          - Whether to take the path off on the way to the app, announce it in C(X-Forwarded-Prefix), and put it before
            the paths of redirects and cookies on the way back.
        type: bool
        default: false
        version_added: 1.0.0
      basic_auth:
        description: Whether O(basic_auth) of the domain holds here. A webhook may want V(false).
        type: bool
        default: true
        version_added: 1.0.0
      websocket:
        description: As O(websocket), for the path.
        type: bool
        default: true
        version_added: 1.0.0
      buffering:
        description: As O(buffering), for the path.
        type: bool
        default: true
        version_added: 1.0.0
      max_body_size:
        description: As O(max_body_size), for the path. Without it, that of the domain.
        type: str
        version_added: 1.0.0
      timeouts:
        description: As O(timeouts), for the path. What is left out is that of the domain.
        type: dict
        version_added: 1.0.0
        suboptions:
          connect:
            description:
              - Until the app accepts the connection. nginx's own value is 60; V(5) where there are several
                O(paths[].upstreams).
            type: int
            version_added: 1.0.0
          read: *timeouts_read
          send: *timeouts_send
      allow:
        description: As O(allow), for the path, in place of the domain's.
        type: list
        elements: str
        version_added: 1.0.0
      deny:
        description: As O(deny), for the path, in place of the domain's.
        type: list
        elements: str
        version_added: 1.0.0
  php_fpm: &php_fpm
    description:
      - Serve a directory whose PHP is run by php-fpm. What is not there goes to the index, as most PHP applications
        want it.
    type: dict
    version_added: 1.0.0
    suboptions:
      root:
        description: The directory's absolute path.
        type: str
        required: true
        version_added: 1.0.0
      socket:
        description: The Unix socket of php-fpm.
        type: str
        version_added: 1.0.0
      host:
        description: Its IP address, with O(php_fpm.port).
        type: str
        default: 127.0.0.1
        version_added: 1.0.0
      port:
        description: Its port, instead of O(php_fpm.socket).
        type: int
        version_added: 1.0.0
      index:
        description: The file that answers for a directory, and for what is not there.
        type: str
        default: index.php
        version_added: 1.0.0
      script_root:
        description: The directory as php-fpm sees it, where that is elsewhere, such as in a container.
        type: str
        version_added: 1.0.0
  hsts: &hsts
    description: Tell browsers to come by HTTPS only (RFC 6797). It cannot be taken back before the time is over.
    type: dict
    version_added: 1.0.0
    suboptions:
      max_age:
        description: For how many seconds. V(0) makes browsers forget it.
        type: int
        default: 31536000
        version_added: 1.0.0
      include_subdomains:
        description: Whether for all subdomains, too.
        type: bool
        default: false
        version_added: 1.0.0
      preload:
        description: Whether browsers may ship with the domain in their lists (U(https://hstspreload.org/)).
        type: bool
        default: false
        version_added: 1.0.0
  http_redirect: &http_redirect
    description: Whether requests by HTTP are redirected to HTTPS, where there is a certificate for the name.
    type: bool
    default: true
    version_added: 1.0.0
  extra: &extra
    description:
      - nginx directives for what no other option does. They are put into the C(location /) of the domain; C(location)
        blocks among them are nested there.
      - It has to be whole directives. Those that would load or write files, run code, or change names and certificates
        are refused, and those that an option is there for.
      - When nginx refuses a directive, the items of that app fail, and those of the others go on.
    type: str
    version_added: 1.0.0
  tls: &tls
    description:
      - Where the certificate comes from. V(none) serves HTTP.
      - V(letsencrypt) orders it from Let's Encrypt, or whichever authority O(acme) names. An app has one certificate
        for all its names.
      - V(provided) is O(certificate) and O(private_key). V(internal) is made by an authority of the host's own, which
        browsers have to be told to trust.
      - While a certificate cannot be had, the name is served by HTTP or on the certificate that is there, and the item
        fails, saying what is missing.
    type: str
    choices: [none, letsencrypt, provided, internal]
    default: none
    version_added: 1.0.0
  certificate: &certificate
    description: With O(tls=provided), the certificate and those that link it to its root, in PEM form.
    type: str
    version_added: 1.0.0
  private_key: &private_key
    description: With O(tls=provided), the key of O(certificate), in PEM form, not encrypted.
    type: str
    version_added: 1.0.0
  challenge: &challenge
    description:
      - >-
        How O(tls=letsencrypt) proves that the name is yours: by a file that this nginx serves, or by a DNS record that
        a plugin or hook of O(acme) makes.
    type: str
    choices: [http-01, dns-01]
    default: http-01
    version_added: 1.0.0
  state: &state
    description: V(present) serves the name, V(absent) ends that. The app itself is not touched.
    type: str
    choices: [present, absent]
    default: present
    version_added: 1.0.0
  dns_check: &dns_check
    description:
      - How it is found out whether a domain leads to this host.
      - V(probe) has this nginx serve a random token, and fetches it by the domain's public name. That works behind a
        CDN, too.
      - V(records) compares the A and AAAA records with the host's addresses. V(off) does not ask.
      - What is found is a warning. A certificate is not ordered for a name that does not lead here.
    type: str
    choices: [probe, records, "off"]
    default: probe
    version_added: 1.0.0
  check_port: &check_port
    description:
      - Fail when nothing answers at the port, before anything is changed. Asked only when the item or the app's files
        change.
    type: bool
    default: true
    version_added: 1.0.0
  domains:
    description:
      - A list of items, each with the options above, instead of one item at top level.
      - One that fails does not stop the others. The task then fails, naming each.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      app:
        description: The app that is served.
        type: str
        required: true
        version_added: 1.0.0
      name: *name
      aliases: *aliases
      shared: *shared
      private_url: *private_url
      slug: *slug
      expires: *expires
      port: *port
      max_body_size: *max_body_size
      timeouts: *timeouts
      websocket: *websocket
      buffering: *buffering
      basic_auth: *basic_auth
      allow: *allow
      deny: *deny
      headers: *headers
      redirect_to: *redirect_to
      rate_limit: *rate_limit
      cache_static: *cache_static
      gzip: *gzip
      maintenance: *maintenance
      real_ip_from: *real_ip_from
      paths: *paths
      upstreams: *upstreams
      balance: *balance
      keepalive: *keepalive
      root: *root
      php_fpm: *php_fpm
      hsts: *hsts
      http_redirect: *http_redirect
      extra: *extra
      tls: *tls
      certificate: *certificate
      private_key: *private_key
      challenge: *challenge
      state: *state
      dns_check: *dns_check
      check_port: *check_port
  exclusive:
    description:
      - Whether the apps in the task lose the names that are not listed for them. Apps that are not in the task keep
        theirs.
      - An app one of whose items fails loses nothing.
    type: bool
    default: false
    version_added: 1.0.0
  main_ports:
    description:
      - The main ports that apps are going to have, by their names, for check mode. A task before this one may be about
        to change them, and has not told the registry. Apps that are not named have the port that the registry has.
      - A real run asks the registry only.
    type: dict
    version_added: 1.0.0
  acme:
    description: The certificate authority for O(tls=letsencrypt), and what it has to be told.
    type: dict
    version_added: 1.0.0
    suboptions:
      directory:
        description:
          - The URL of the authority's directory (RFC 8555).
          - Without it, that of Let's Encrypt.
        type: str
        version_added: 1.0.0
      staging_directory:
        description:
          - The directory at which an order is rehearsed before the real one; an empty text rehearses nothing.
          - Without it, that of Let's Encrypt where O(acme.directory) is left out, else none.
        type: str
        version_added: 1.0.0
      ca_bundle:
        description:
          - The path on the host of a PEM file with the certificates by which O(acme.directory) itself is trusted, for
            an authority of your own.
        type: str
        version_added: 1.0.0
      email:
        description: The address of the account.
        type: str
        version_added: 1.0.0
      eab_kid:
        description: The key identifier of an external account (RFC 8555, section 7.3.4).
        type: str
        version_added: 1.0.0
      eab_hmac_key:
        description: Its key.
        type: str
        version_added: 1.0.0
      dns_plugin:
        description:
          - certbot's plugin for O(challenge=dns-01), such as V(cloudflare), V(route53) or V(rfc2136). The role
            C(serverkit.core.certbot) installs it.
        type: str
        version_added: 1.0.0
      dns_credentials:
        description: What the plugin's credentials file holds, without the prefix V(dns_<plugin>_).
        type: dict
        version_added: 1.0.0
      dns_propagation:
        description: Seconds to wait until the record can be seen. Without it, the plugin's own value.
        type: int
        version_added: 1.0.0
      auth_hook:
        description: The path of a program on the host that makes the DNS record, instead of a plugin.
        type: str
        version_added: 1.0.0
      cleanup_hook:
        description: The path of a program that takes it away.
        type: str
        version_added: 1.0.0
  private_domain:
    description:
      - A domain below which the private URLs of the task are host names of their own, for apps that cannot live under a
        path.
      - It is remembered with each private URL, its certificate included. A task that leaves it out keeps each private
        URL where it is.
    type: dict
    version_added: 1.0.0
    suboptions:
      name:
        description:
          - The domain. C(*.<name>) has to lead to the host.
          - The empty text moves the private URLs of the task back below C(/p/).
        type: str
        required: true
        version_added: 1.0.0
      tls:
        description:
          - Where the wildcard certificate comes from, as O(tls). V(letsencrypt) proves it by DNS.
          - It is one certificate for all private URLs below the domain, and is removed with the last of them.
        type: str
        choices: [none, letsencrypt, provided, internal]
        default: none
        version_added: 1.0.0
      certificate:
        description: As O(certificate).
        type: str
        version_added: 1.0.0
      private_key:
        description: As O(private_key).
        type: str
        version_added: 1.0.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
notes:
  - In check mode an obstacle that a task before this one may remove (an app that does not answer yet, Debian's default
    site) is a warning, and C(nginx -t) is not run, since it makes log files.
  - The log files are C(/var/log/nginx/<app>.access.log) and C(/var/log/nginx/<app>.error.log).
seealso:
  - module: serverkit.core.serverkit_port
  - module: serverkit.core.serverkit_app
"""

EXAMPLES = r"""
- name: Serve an app by its domain
  serverkit.core.serverkit_domain:
    app: my-blog
    name: my-blog.com
    aliases: [www.my-blog.com]

- name: Serve an app by an address that nobody can guess
  serverkit.core.serverkit_domain:
    app: my-blog
    private_url: true
  register: private

- name: Show the address
  ansible.builtin.debug:
    msg: "http://{{ ansible_facts['default_ipv4']['address'] }}{{ private.results[0].path }}"

- name: Serve these names of two apps and no others, in one reload
  serverkit.core.serverkit_domain:
    exclusive: true
    domains:
      - {app: my-blog, name: my-blog.com, aliases: [www.my-blog.com]}
      - {app: my-blog, private_url: true, slug: preview-of-my-blog}
      - {app: grafana, name: metrics.my-blog.com, websocket: false}

- name: Serve something that is not an app of this collection
  serverkit.core.serverkit_domain:
    app: wiki
    name: wiki.my-blog.com
    port: 9000

- name: Serve a domain by HTTPS, and send www there
  serverkit.core.serverkit_domain:
    acme: {email: admin@my-blog.com}
    domains:
      - {app: my-blog, name: my-blog.com, tls: letsencrypt}
      - app: my-blog
        name: www.my-blog.com
        tls: letsencrypt
        redirect_to: {host: my-blog.com}

- name: Let larger files in, and keep all but the office out of the back end
  serverkit.core.serverkit_domain:
    app: shop
    name: shop.example.com
    max_body_size: 1g
    timeouts: {read: 900}
    paths:
      - {path: /admin, allow: [203.0.113.0/24]}
      - {path: /api, app: shop-api, strip: true}

- name: Ask for a password
  serverkit.core.serverkit_domain:
    app: staging
    name: staging.example.com
    tls: internal
    basic_auth:
      realm: Staging
      users: {ann: "{{ vault_staging_password }}"}

- name: Serve two instances, the second one when the first fails
  serverkit.core.serverkit_domain:
    app: api
    name: api.example.com
    upstreams:
      - {port: 8001}
      - {host: 192.0.2.20, port: 8001, backup: true}

- name: Serve a directory of PHP
  serverkit.core.serverkit_domain:
    app: forum
    name: forum.example.com
    php_fpm: {root: /var/www/forum, socket: /run/php/php-fpm.sock}

- name: Show a preview for a week, below a domain of its own
  serverkit.core.serverkit_domain:
    app: my-blog
    private_url: true
    expires: 7d
    private_domain: {name: apps.example.com, tls: letsencrypt}
    acme: {dns_plugin: rfc2136, dns_credentials: "{{ vault_dns }}"}

- name: Show a page that says so while the app is being moved
  serverkit.core.serverkit_domain:
    app: my-blog
    name: my-blog.com
    maintenance: {retry_after: 1800, allow: [203.0.113.7]}

- name: Stop serving a domain
  serverkit.core.serverkit_domain:
    app: my-blog
    name: my-blog.com
    state: absent

- name: Stop serving an app altogether
  serverkit.core.serverkit_domain:
    app: my-blog
    state: absent
"""

RETURN = r"""
results:
  description: One result for each item, in order.
  returned: always
  type: list
  elements: dict
  version_added: 1.0.0
  contains:
    name:
      description: The domain, or C(private URL of <app>), or C(all names of <app>).
      returned: always
      version_added: 1.0.0
      type: str
      sample: my-blog.com
    changed:
      description: Whether the item was changed, or would be.
      returned: always
      version_added: 1.0.0
      type: bool
    kind:
      description: What the item is about, V(domain), V(private_url) or V(all).
      returned: success
      version_added: 1.0.0
      type: str
    app:
      description: The app.
      returned: success
      version_added: 1.0.0
      type: str
    state:
      description: V(present) or V(absent).
      returned: success
      version_added: 1.0.0
      type: str
    url:
      description:
        - Where the domain, or the private URL below O(private_domain), is served. It begins with C(https) once there is
          a certificate for the name. Null for a private URL below the server's address.
      returned: for what is present
      version_added: 1.0.0
      type: str
      sample: https://my-blog.com/
    tls:
      description: The certificate that is served, or that will be.
      returned: for what is present
      version_added: 1.0.0
      type: dict
      contains:
        mode:
          description: As O(tls).
          returned: always
          version_added: 1.0.0
          type: str
        names:
          description: The names that the certificate is for.
          returned: when there is one
          version_added: 1.0.0
          type: list
          elements: str
        issuer:
          description: Who has signed it.
          returned: when there is one
          version_added: 1.0.0
          type: str
        expires:
          description: When it ends, in UTC. Whatever is renewed by the host itself is renewed about 30 days before.
          returned: when there is one
          version_added: 1.0.0
          type: str
          sample: "2026-12-24T17:00:00Z"
        days_left:
          description: How many whole days are left until then. Less than 21 are a warning.
          returned: when there is one
          version_added: 1.0.0
          type: int
        ca:
          description: The root certificate of the host's own authority, for those who shall trust it.
          returned: with V(internal)
          version_added: 1.0.0
          type: str
          sample: /var/serverkit/ssl/serverkit/internal-ca.pem
    aliases:
      description: Its aliases, sorted.
      returned: for a domain that is present
      version_added: 1.0.0
      type: list
      elements: str
    resolves_to:
      description: The addresses that the domain resolves to on this host; null when it was not asked.
      returned: for a domain that is present
      version_added: 1.0.0
      type: list
      elements: str
    slug:
      description: The slug; null in check mode when a random one would be drawn.
      returned: for a private URL that is present
      version_added: 1.0.0
      type: str
    path:
      description:
        - The path at the server's address, V(/p/<slug>/), or V(/) below O(private_domain); null as for the slug.
      returned: for a private URL that is present
      version_added: 1.0.0
      type: str
      sample: /p/k5zq3mnd4tqk7yh2q6ywq2v3ra/
    expires:
      description: When it ends, in UTC; null when it does not.
      returned: for a private URL that is present
      version_added: 1.0.0
      type: str
      sample: "2026-12-24T17:00:00Z"
    port:
      description: The port that requests are passed on to; null in check mode when the app is not deployed yet.
      returned: for what is present
      version_added: 1.0.0
      type: int
    websocket:
      description: Whether upgrades are passed on.
      returned: for what is present
      version_added: 1.0.0
      type: bool
    file:
      description: The app's nginx file.
      returned: for what is present
      version_added: 1.0.0
      type: str
      sample: /etc/nginx/sites-available/my-blog
    failed:
      description: Whether the item failed.
      returned: failure
      version_added: 1.0.0
      type: bool
    msg:
      description: What was attempted, why it failed, and what to do.
      returned: failure
      version_added: 1.0.0
      type: str
    rolled_back:
      description: What was undone.
      returned: failure
      version_added: 1.0.0
      type: list
      elements: str
    not_rolled_back:
      description: What could not be undone, each with the reason.
      returned: failure
      version_added: 1.0.0
      type: list
      elements: str
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values import domain
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import parse_acme

TIMEOUTS = {
    "connect": {"type": "int"},
    "read": {"type": "int"},
    "send": {"type": "int"},
}

UPSTREAMS = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "required": True},
    "weight": {"type": "int", "default": 1},
    "max_fails": {"type": "int"},
    "fail_timeout": {"type": "int"},
    "backup": {"type": "bool", "default": False},
}

ROOT = {
    "directory": {"type": "str", "required": True},
    "index": {"type": "list", "elements": "str", "default": ["index.html"]},
    "spa": {"type": "bool", "default": False},
}

PATHS = {
    "path": {"type": "str", "required": True},
    "app": {"type": "str"},
    "port": {"type": "int"},
    "upstreams": {"type": "list", "elements": "dict", "options": UPSTREAMS},
    "balance": {"type": "str", "choices": ["round_robin", "least_conn", "ip_hash"], "default": "round_robin"},
    "root": {"type": "dict", "options": ROOT},
    "strip": {"type": "bool", "default": False},
    "basic_auth": {"type": "bool", "default": True},
    "websocket": {"type": "bool", "default": True},
    "buffering": {"type": "bool", "default": True},
    "max_body_size": {"type": "str"},
    "timeouts": {"type": "dict", "options": TIMEOUTS},
    "allow": {"type": "list", "elements": "str"},
    "deny": {"type": "list", "elements": "str"},
}

ITEM = {
    "app": {"type": "str"},
    "name": {"type": "str"},
    "aliases": {"type": "list", "elements": "str"},
    "shared": {"type": "bool", "default": False},
    "private_url": {"type": "bool", "default": False},
    "slug": {"type": "str"},
    "expires": {"type": "str"},
    "port": {"type": "int"},
    "max_body_size": {"type": "str"},
    "timeouts": {"type": "dict", "options": TIMEOUTS},
    "websocket": {"type": "bool", "default": True},
    "buffering": {"type": "bool", "default": True},
    "basic_auth": {
        "type": "dict",
        "options": {
            "users": {"type": "dict", "required": True, "no_log": True},
            "realm": {"type": "str", "default": "Restricted"},
        },
    },
    "allow": {"type": "list", "elements": "str"},
    "deny": {"type": "list", "elements": "str"},
    "headers": {"type": "dict"},
    "redirect_to": {
        "type": "dict",
        "options": {
            "host": {"type": "str"},
            "url": {"type": "str"},
            "code": {"type": "int", "choices": [301, 302, 307, 308], "default": 301},
            "keep_path": {"type": "bool", "default": True},
        },
    },
    "rate_limit": {
        "type": "dict",
        "options": {
            "requests": {"type": "int", "required": True},
            "per": {"type": "str", "choices": ["second", "minute"], "default": "second"},
            "burst": {"type": "int", "default": 0},
            "by": {"type": "str", "choices": ["address", "domain"], "default": "address"},
        },
    },
    "cache_static": {
        "type": "dict",
        "options": {
            "max_age": {"type": "int", "default": 2592000},
            "extensions": {"type": "list", "elements": "str"},
        },
    },
    "gzip": {"type": "bool"},
    "maintenance": {
        "type": "dict",
        "options": {
            "retry_after": {"type": "int", "default": 600},
            "allow": {"type": "list", "elements": "str"},
        },
    },
    "real_ip_from": {
        "type": "dict",
        "options": {
            "ranges": {"type": "list", "elements": "str", "required": True},
            "header": {"type": "str", "default": "X-Forwarded-For"},
        },
    },
    "paths": {"type": "list", "elements": "dict", "options": PATHS},
    "upstreams": {"type": "list", "elements": "dict", "options": UPSTREAMS},
    "balance": {"type": "str", "choices": ["round_robin", "least_conn", "ip_hash"], "default": "round_robin"},
    "keepalive": {"type": "int", "default": 32},
    "root": {"type": "dict", "options": ROOT},
    "php_fpm": {
        "type": "dict",
        "options": {
            "root": {"type": "str", "required": True},
            "socket": {"type": "str"},
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int"},
            "index": {"type": "str", "default": "index.php"},
            "script_root": {"type": "str"},
        },
    },
    "hsts": {
        "type": "dict",
        "options": {
            "max_age": {"type": "int", "default": 31536000},
            "include_subdomains": {"type": "bool", "default": False},
            "preload": {"type": "bool", "default": False},
        },
    },
    "http_redirect": {"type": "bool", "default": True},
    "extra": {"type": "str"},
    "tls": {"type": "str", "choices": ["none", "letsencrypt", "provided", "internal"], "default": "none"},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
    "challenge": {"type": "str", "choices": ["http-01", "dns-01"], "default": "http-01"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "dns_check": {"type": "str", "choices": ["probe", "records", "off"], "default": "probe"},
    "check_port": {"type": "bool", "default": True},
}

ACME = {
    "directory": {"type": "str"},
    "staging_directory": {"type": "str"},
    "ca_bundle": {"type": "str"},
    "email": {"type": "str"},
    "eab_kid": {"type": "str"},
    "eab_hmac_key": {"type": "str", "no_log": True},
    "dns_plugin": {"type": "str"},
    "dns_credentials": {"type": "dict", "no_log": True},
    "dns_propagation": {"type": "int"},
    "auth_hook": {"type": "str"},
    "cleanup_hook": {"type": "str"},
}

PRIVATE_DOMAIN = {
    "name": {"type": "str", "required": True},
    "tls": {"type": "str", "choices": ["none", "letsencrypt", "provided", "internal"], "default": "none"},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
}

TASK = {
    "exclusive": {"type": "bool", "default": False},
    "main_ports": {"type": "dict"},
    "acme": {"type": "dict", "options": ACME},
    "private_domain": {"type": "dict", "options": PRIVATE_DOMAIN},
}


def label(options: Mapping[str, Any]) -> str:
    """Call an item that cannot be parsed what it is meant to be."""
    return str(options["name"]) if options["name"] is not None else f"private URL of {options['app']}"


def make_domains(host: Host, params: Mapping[str, Any]) -> Domains:
    listed = params["domains"] if params["domains"] is not None else [params]
    counted = Counter(str(options["app"]) for options in listed)
    return Domains(
        host,
        listed=counted,
        exclusive=params["exclusive"],
        main_ports=domain.main_ports(params["main_ports"] or {}),
        acme=None if params["acme"] is None else parse_acme(params["acme"]),
        private_domain=domain.parse_private_domain(params["private_domain"]),
    )


def main() -> None:
    run_module(
        one_or_list(ITEM, "domains", key="app", more=TASK),
        list_option="domains",
        key="app",
        parse=domain.parse,
        make_resource=make_domains,
        label=label,
    )


if __name__ == "__main__":
    main()
