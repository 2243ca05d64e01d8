# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers to try the collection on: real ones, in containers, on any Debian or Ubuntu machine with Python and root."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import engine
import hosts
import images
import standins
from network import NETWORK
from shell import Failure, output, say, succeeds

PROGRAMS = {
    "nginx": "nginx-light",
    "initdb": "postgresql",
    "mariadbd": "mariadb-server",
    "redis-server": "redis-server",
    "certbot": "certbot",
    "/usr/lib/python3/dist-packages/certbot_dns_rfc2136": "python3-certbot-dns-rfc2136",
    "named": "bind9",
    "pebble": "pebble",
    "wrk": "wrk",
    "zstd": "zstd",
    "restic": "restic",
    "/usr/lib/openssh/sftp-server": "openssh-sftp-server",
    # The program's name has PHP's version in it.
    "/usr/share/doc/php-fpm": "php-fpm",
}


def engine_command(_arguments: argparse.Namespace) -> None:
    engine.ensure_engine()
    engine.ensure_commands({"mmdebstrap": "mmdebstrap", "ssh": "openssh-client", "ssh-keygen": "openssh-client"})
    say("A Docker Engine answers, and what the test bed needs beside it is there.")


def images_command(arguments: argparse.Namespace) -> None:
    engine.ensure_engine()
    tags = images.ensure_images(arguments.names or images.IMAGES)
    for name, tag in tags.items():
        size = int(output(["docker", "image", "inspect", "--format", "{{.Size}}", tag]))
        print(f"{name:18} {tag:48} {size / 1e6:5.0f} MB")


def mirror_up_command(arguments: argparse.Namespace) -> None:
    engine.ensure_engine()
    if standins.needed(arguments.standins):
        references = arguments.references
        print(standins.mirror_up(references or standins.references_in_templates(arguments.templates)))


def mirror_down_command(_arguments: argparse.Namespace) -> None:
    engine.require_engine()
    standins.mirror_down()
    say("No registry mirror is left.")


def mirror_status_command(_arguments: argparse.Namespace) -> None:
    engine.require_engine()
    contents = standins.mirror_contents()
    if contents is None:
        print("No registry mirror runs.")
    else:
        print(standins.MIRROR_URL, *contents, sep="\n  ")


def host_create_command(arguments: argparse.Namespace) -> None:
    engine.ensure_engine()
    print(hosts.create(arguments.name, arguments.image, arguments.publish, arguments.ssh_key).address)


def host_destroy_command(arguments: argparse.Namespace) -> None:
    engine.require_engine()
    for name in arguments.names:
        say(f"Host {name} destroyed." if hosts.destroy(name) else f"There is no host {name}.")


def host_restart_command(arguments: argparse.Namespace) -> None:
    engine.require_engine()
    print(hosts.restart(arguments.name).address)


def host_load_command(arguments: argparse.Namespace) -> None:
    engine.require_engine()
    standins.load(hosts.require(arguments.name).name, arguments.references, arguments.standins)


def programs_command(_arguments: argparse.Namespace) -> None:
    engine.ensure_idle_programs(PROGRAMS)


def host_list_command(_arguments: argparse.Namespace) -> None:
    engine.require_engine()
    for host in hosts.all_hosts():
        print(f"{host.name:24} {host.image:16} {host.state:10} {host.address or '-':16} {host.publish}")


def destroy_command(arguments: argparse.Namespace) -> None:
    """Remove what the test bed made, told by its label or its tag prefix, and nothing else."""
    engine.require_engine()
    label = f"label={images.LABEL}"
    containers = output(["docker", "ps", "--all", "--quiet", "--filter", label]).split()
    if containers:
        output(["docker", "rm", "--force", "--volumes", *containers])
    volumes = output(["docker", "volume", "ls", "--quiet", "--filter", label]).split()
    if volumes:
        output(["docker", "volume", "rm", *volumes])
    if succeeds(["docker", "network", "inspect", NETWORK]):
        output(["docker", "network", "rm", NETWORK])
    tags = [] if arguments.keep_images else images.existing_tags()
    if tags:
        output(["docker", "rmi", "--force", *tags])
    say(f"Removed {len(containers)} containers, {len(volumes)} volumes and {len(tags)} images of the test bed.")


Commands = argparse._SubParsersAction  # the type has no public name


def add_command(
    commands: Commands[argparse.ArgumentParser], name: str, function: Callable[[argparse.Namespace], None], help: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(function=function)
    return parser


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "engine", engine_command, "have a Docker Engine, mmdebstrap and an SSH client")
    idle = "have the server programs that tests start themselves: nginx, databases, certbot, Pebble, bind9, restic"
    add_command(commands, "programs", programs_command, idle)
    build = add_command(commands, "images", images_command, "build images that are missing or whose definition changed")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(images.IMAGES)} (default: all)")
    add_mirror_commands(commands.add_parser("mirror", help="a registry mirror that holds stand-ins for public images"))
    add_host_commands(commands.add_parser("host", help="servers: create, destroy, restart, list"))
    gone = "remove every container, network, volume and image of the test bed"
    remove = add_command(commands, "destroy", destroy_command, gone)
    remove.add_argument("--keep-images", action="store_true", help="keep what took long to build")
    return parser


def add_mirror_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = add_command(commands, "up", mirror_up_command, "start and fill it where it is needed; prints its URL")
    up.add_argument("references", nargs="*", metavar="IMAGE", help="default: the images that templates/ names")
    up.add_argument("--standins", choices=("auto", "always", "never"), default="auto", help="default: %(default)s")
    up.add_argument("--templates", nargs="+", metavar="TEMPLATE", help="only the images that these templates name")
    add_command(commands, "down", mirror_down_command, "remove it and what it holds")
    add_command(commands, "status", mirror_status_command, "its URL and the images that it holds")


def add_host_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = add_command(commands, "create", host_create_command, "create and boot a server; prints its address")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--image", default="bare-trixie", help="default: %(default)s")
    create.add_argument("--publish", action="append", default=[], metavar="[IP:]PORT:PORT", help="as of `docker run`")
    create.add_argument("--ssh-key", type=Path, metavar="PUB", help="public key that root may log in with")
    destroy = add_command(commands, "destroy", host_destroy_command, "remove servers and their volumes")
    destroy.add_argument("names", nargs="+", metavar="NAME")
    add_command(commands, "restart", host_restart_command, "reboot a server").add_argument("name", metavar="NAME")
    load = add_command(
        commands, "load", host_load_command, "put images into a server's engine under their public names"
    )
    load.add_argument("name", metavar="NAME")
    load.add_argument("references", nargs="+", metavar="IMAGE")
    load.add_argument("--standins", choices=("auto", "always", "never"), default="auto", help="default: %(default)s")
    add_command(commands, "list", host_list_command, "name, image, state, address and published ports")


def main() -> int:
    arguments = build_parser().parse_args()
    try:
        arguments.function(arguments)
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
