# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the YAML writer writes, every reader reads back: ours, PyYAML (1.1) and Compose's (1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import dump_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# What some version of YAML reads as something else.
AMBIGUOUS = st.from_regex(r"[-+]?[0-9oxXbe_.:TZ-]{1,12}", fullmatch=True) | st.sampled_from(
    ["yes", "No", "on", "OFF", "y", "n", "true", "False", "null", "~", ".inf", "-.Inf", ".nan", "=", "<<", "0o17"]
    + ["0x1F", "0b1", "1_000", "1e3", "1:30", "190:20:30", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "!x", "&a"]
    + ["*a", "- a", "? a", "a: b", "a #b", "#a", "%a", "@a", "`a", "'", '"', "|", ">", "{", "[", "]", ",", "---", "..."]
    + ["a\n", "\na", "a\n\n", " a\nb", "a \nb", "a\n b\n", "\ta\nb", "a\tb", "a\rb", "a\u2028b", "a\u0085b", "\ufeffa"]
)
BLOCKS = st.lists(st.text(st.sampled_from("ab :#-'\"\t$%é"), max_size=8), max_size=5).map("\n".join)
SCALARS = TEXTS | AMBIGUOUS | BLOCKS
VALUES = st.recursive(
    # The reader keeps a float that nobody writes like that (1.0e-05) as the text that it found.
    SCALARS | st.none() | st.booleans() | st.integers() | st.sampled_from([0.0, 0.5, -1.25, 1000.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(SCALARS, VALUES, max_size=5)


@given(DOCUMENTS)
def test_our_reader_and_pyyaml_read_it_back(document: dict[str, Any]) -> None:
    written = dump_yaml(document)
    assert yaml.safe_load(written) == document
    assert parse_yaml(written, "test") == document
    assert dump_yaml(document) == written


def test_compose_reads_it_back(compose: Any, judge: Any) -> None:
    def disagreement(texts: Sequence[str]) -> str:
        values = {f"V{number}": text for number, text in enumerate(texts)}
        escaped = {name: text.replace("$", "$$") for name, text in values.items()}
        service = {"image": "x", "environment": escaped, "command": list(escaped.values())}
        config = compose.config(dump_yaml({"name": "x", "services": {"x": service}}))
        if not isinstance(config, dict):
            return str(config)
        read = config["services"]["x"]
        found = {name: text.replace("$$", "$") for name, text in read["environment"].items()}
        arguments = [text.replace("$$", "$") for text in read["command"]]
        return "" if found == values and arguments == list(texts) else f"Compose has {found!r}"

    judge(SCALARS, disagreement)


def test_compose_reads_keys_back(compose: Any, judge: Any) -> None:
    # Labels may be called nearly anything. Not `x-...`, which are extensions, and not line breaks alone; and a dollar
    # sign in a key means nothing to Compose, but it is doubled when printed.
    keys = (TEXTS | AMBIGUOUS).filter(
        lambda text: text.strip("\n") and not text.startswith("x-") and not set(text) & set("$=")
    )

    def disagreement(texts: Sequence[str]) -> str:
        labels = dict.fromkeys(texts, "x")
        config = compose.config(dump_yaml({"name": "x", "services": {"x": {"image": "x", "labels": labels}}}))
        found = config["services"]["x"]["labels"] if isinstance(config, dict) else config
        return "" if found == labels else f"Compose has {found!r}"

    judge(keys, disagreement)
