# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of backup sets as files share."""

from __future__ import annotations

import contextlib
import pathlib
import random
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def small_disk(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of one megabyte, mounted below a directory."""
    place = directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def noise(size: int) -> bytes:
    """Content that cannot be compressed, always the same."""
    return random.Random(1).randbytes(size)
