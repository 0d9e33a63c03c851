#!/usr/bin/env python3
"""Make Cromwell's schema and its user in the database. It may be run any number of times.

``bootstrap_database.py MASTER_SECRET`` takes the ARN of the secret with the master's
``username`` and ``password``, which nothing else here ever needs. The user that is made
gets the password of the application's secret, all rights on its own schema and none
elsewhere, and is let in over TLS only. Run it again after that secret was changed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import instance


class Unusable(Exception):
    """A secret is not what it should be; the text says which, and never what it holds."""


def statements(schema: str, user: str, password: str) -> str:
    """Return the SQL, for MySQL 8.0 and MariaDB alike.

    Parameters
    ----------
    schema, user : str
        Letters, digits and, in a user, underscores: in a grant `_` would stand for any letter.
    password : str
        Anything without control characters.

    Examples
    --------
    >>> print(statements("cromwell", "app", "it's")[:96])
    SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';
    CREATE DATABASE IF NOT EXISTS `cromwell` CHARACTE
    >>> "'it''s'" in statements("cromwell", "app", "it's")
    True
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*", schema) or not re.fullmatch(r"[a-z][a-z0-9_]*", user):
        raise Unusable(f"{schema!r} or {user!r} is no name for a schema or a user.")
    if not password or re.search(r"[\x00-\x1f\x7f]", password):
        raise Unusable("The password is empty, or holds control characters.")
    quoted = "'" + password.replace("'", "''") + "'"
    return "\n".join(
        [
            # Within quotes only the quote itself is then special.
            "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';",
            f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY {quoted} REQUIRE SSL;",
            f"ALTER USER '{user}'@'%' IDENTIFIED BY {quoted} REQUIRE SSL;",
            f"GRANT ALL PRIVILEGES ON `{schema}`.* TO '{user}'@'%';",
            "",
        ]
    )


def login(arn: str) -> tuple[str, str]:
    """Return user and password of a secret."""
    try:
        told = json.loads(instance.secret(arn))
        return str(told["username"]), str(told["password"])
    except (ValueError, KeyError, TypeError) as problem:
        raise Unusable(f"The secret {arn} has no username and password.") from problem


def bootstrap(settings: dict[str, Any], master_secret: str) -> None:
    """Make schema and user.

    Raises
    ------
    Unavailable, Unusable
        A secret could not be read, or holds something else.
    CalledProcessError
        The database said no.
    """
    user, password = login(settings["database_secret"])
    if user != settings["database_user"]:
        raise Unusable(f"The secret's username is {user!r}, not {settings['database_user']!r}.")
    sql = statements(settings["database_name"], user, password)
    master, its_password = login(master_secret)
    subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            "--protocol=tcp",
            f"--host={settings['database_host']}",
            f"--port={settings['database_port']}",
            f"--user={master}",
            f"--ssl-ca={instance.ETC / 'database-ca.pem'}",
            "--ssl-verify-server-cert",
            "--connect-timeout=60",  # one that had paused itself takes half a minute to wake
            "--default-character-set=utf8mb4",
        ],
        env={**os.environ, "MYSQL_PWD": its_password},
        input=sql.encode(),
        stderr=subprocess.PIPE,
        check=True,
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Make Cromwell's schema and user.")
    parser.add_argument("master_secret", help="ARN of the master's secret")
    told = parser.parse_args(words)
    settings = instance.settings()
    try:
        bootstrap(settings, told.master_secret)
    except (instance.Unavailable, Unusable) as problem:
        print(problem, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as problem:
        print(f"The database says: {problem.stderr.decode().strip()}", file=sys.stderr)
        return 1
    print(f"The user {settings['database_user']} and its schema are as they should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
