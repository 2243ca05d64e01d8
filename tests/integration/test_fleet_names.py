# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers of an inventory that claim one name: the play ends before any server is touched.

The role's own check is run by a real `ansible-playbook`. No server is needed: each host is this machine, and the task
after the check leaves a file if it is reached.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import ROOT

PLAY = """
- name: Check, and then touch
  hosts: all
  connection: local
  gather_facts: false
  vars:
    from_play: x.test
  tasks:
    - name: Check
      ansible.builtin.import_role:
        name: serverkit.core.app
        tasks_from: validate
    - name: Touch
      ansible.builtin.copy:
        content: ""
        dest: "{{ playbook_dir }}/touched.{{ inventory_hostname }}"
        mode: "0600"
"""

Hosts = dict[str, dict[str, Any]]


def app(name: str, domain: str, **options: object) -> dict[str, Any]:
    return {"name": name, "template": "static-site", "domains": [{"name": domain, **options}]}


def run(tmp_path: pathlib.Path, hosts: Hosts, *options: str) -> tuple[int, str, set[str]]:
    """Return the exit code, the output, and the hosts that were touched."""
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    play = tmp_path / "play.yml"
    play.write_text(PLAY, encoding="utf-8")
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev"),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    argv = [str(program), "-i", str(inventory), *options, str(play)]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    # Ansible breaks long lines of warnings.
    output = " ".join((done.stdout + done.stderr).split())
    return done.returncode, output, {path.suffix[1:] for path in tmp_path.glob("touched.*")}


def test_a_name_on_two_servers_stops_the_play_for_all(tmp_path: pathlib.Path) -> None:
    hosts: Hosts = {
        "web1": {"serverkit_apps": [app("blog", "x.test")]},
        "web2": {"serverkit_apps": [app("shop", "y.test", aliases=["x.test"])]},
        "web3": {"serverkit_apps": [app("api", "z.test")]},
    }
    code, output, touched = run(tmp_path, hosts)
    assert code != 0
    assert "The domain x.test is claimed by the app blog on web1 and the app shop on web2." in output
    assert touched == set()


def test_a_server_outside_the_play_counts(tmp_path: pathlib.Path) -> None:
    hosts: Hosts = {
        "web1": {"serverkit_apps": [app("blog", "x.test")]},
        "web2": {"serverkit_apps": [app("a", "x.test")]},
    }
    code, output, touched = run(tmp_path, hosts, "--limit", "web2")
    assert code != 0
    assert "the app blog on web1 and the app a on web2" in output
    assert touched == set()


def test_servers_may_share_a_name_on_purpose(tmp_path: pathlib.Path) -> None:
    shared = app("blog", "x.test", shared=True)
    code, output, touched = run(tmp_path, {name: {"serverkit_apps": [shared]} for name in ("web1", "web2")})
    assert code == 0, output
    assert touched == {"web1", "web2"}


def test_names_that_variables_of_the_play_make_count(tmp_path: pathlib.Path) -> None:
    hosts: Hosts = {name: {"serverkit_apps": [app("blog", "{{ from_play }}")]} for name in ("web1", "web2")}
    code, output, touched = run(tmp_path, hosts)
    assert code != 0
    assert "The domain x.test is claimed by the app blog on web1 and the app blog on web2." in output
    assert touched == set()


@pytest.mark.parametrize("apps", ["{{ unknown }}", [app("a", "{{ ansible_facts['fqdn'] }}")]])
def test_a_server_that_cannot_be_read_is_named_and_no_obstacle(tmp_path: pathlib.Path, apps: object) -> None:
    hosts: Hosts = {"web1": {"serverkit_apps": [app("blog", "x.test")]}, "web2": {"serverkit_apps": apps}}
    code, output, touched = run(tmp_path, hosts, "--limit", "web1")
    assert code == 0, output
    assert "The apps of web2 cannot be read from here" in output
    assert touched == {"web1"}


def test_a_secret_of_another_server_is_not_looked_up(tmp_path: pathlib.Path) -> None:
    lookup = {"KEY": f"{{{{ lookup('ansible.builtin.pipe', 'touch {tmp_path}/touched.secret') }}}}"}
    hosts: Hosts = {
        "web1": {"serverkit_apps": [app("blog", "x.test")]},
        "web2": {"serverkit_apps": [app("api", "y.test") | {"secrets": lookup}]},
    }
    code, output, touched = run(tmp_path, hosts, "--limit", "web1")
    assert code == 0, output
    assert touched == {"web1"}
