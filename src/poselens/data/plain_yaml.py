"""YAML files that nobody has vouched for: keys, lists and plain values, and nothing that grows.

An alias lets a file of a kilobyte stand for a billion values: nine lines that each name the one
before nine times, or merge keys that do. A file of ours needs none.
"""

from typing import Any, cast

import yaml

DEPTH_LIMIT = 20
"""Most lists and mappings inside each other."""

VALUE_LIMIT = 100_000
"""Most keys and values: ten times what the largest data set says about itself."""


def read_plain_yaml(text: str) -> object:
    """Return the content of a YAML file.

    Raises:
        yaml.YAMLError: When it is no YAML or has a tag of its own; and, before anything is built,
            when it has an alias, is nested deeper than 20 levels or has over 100,000 values.
    """
    depth = values = 0
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise _refused("an alias (*name), which is not read", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        values += isinstance(event, yaml.ScalarEvent)
        if values > VALUE_LIMIT:
            raise _refused(f"more than {VALUE_LIMIT:,} keys and values", event)
        if depth > DEPTH_LIMIT:
            raise _refused(f"more than {DEPTH_LIMIT} lists or mappings inside each other", event)
    return loader(text).get_single_data()


class _Plain(yaml.SafeDumper):
    """Writes values that are there twice twice, where PyYAML would write an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def plain_yaml(content: object, *, width: int = 80, flow: bool = False) -> str:
    """Return ``content`` as YAML that ``read_plain_yaml`` reads.

    Args:
        content: Dictionaries, lists and plain values, in the order in which they are to stand.
        width: Columns after which long lines are folded.
        flow: Whether to write ``{key: value}`` in one line.
    """
    text: str = yaml.dump(
        content,
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=width,
        default_flow_style=flow,
    )
    return text


def _refused(text: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"found {text}", problem_mark=cast(Any, event.start_mark))
