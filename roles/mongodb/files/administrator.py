# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look whether a MongoDB on this machine is in use, or see to its administrator. Reads the password from the record."""

from __future__ import annotations

import json
import pathlib
import sys

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

RECORD = pathlib.Path("/etc/serverkit/databases/mongodb.json")
OWN_DATABASES = {"admin", "config", "local"}
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
UNAUTHORIZED, AUTHENTICATION_FAILED = 13, 18
PATIENCE = 30000  # milliseconds: it may still be recovering


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def connect(port: int, **login: str) -> pymongo.MongoClient:
    return pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=PATIENCE, directConnection=True, **login)


def look(port: int) -> None:
    """Print a line for each sign that somebody uses the server."""
    try:
        databases = set(connect(port).list_database_names()) - OWN_DATABASES
    except OperationFailure as error:
        if error.code not in (UNAUTHORIZED, AUTHENTICATION_FAILED):
            raise
        say("it demands a login")
    else:
        if databases:
            say(f"it holds the databases {' '.join(sorted(databases))}")


def ensure(port: int) -> None:
    """Print `created` if there was no administrator, `kept` if the recorded password is right."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    user, password = record["user"], record["password"]
    try:
        connect(port, username=user, password=password, authSource="admin").admin.command("ping")
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
    else:
        say("kept")
        return
    try:
        connect(port).admin.command("createUser", user, pwd=password, roles=[{"role": "root", "db": "admin"}])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        sys.exit(
            f"MongoDB has users already, and does not take the password of {user} in {RECORD}. Log in as one who may, "
            f"create the user {user} in the database admin with the role root and that password, and run this again."
        )
    say("created")


def main() -> None:
    commands = {"look": look, "ensure": ensure}
    try:
        commands[sys.argv[1]](int(sys.argv[2]))
    except PyMongoError as error:
        sys.exit(f"MongoDB does not do what it is asked: {error}")


if __name__ == "__main__":
    main()
