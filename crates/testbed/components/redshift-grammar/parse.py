"""Parses statements of Amazon Redshift: a JSON list of texts from standard input, a JSON list of results.

Each result has the kinds of the nodes under the statements, and what could not be parsed.
"""

import json
import sys

from sqlfluff.core import FluffConfig, Linter


def main() -> None:
    # Without files of settings, whatever lies in the caller's directories.
    linter = Linter(config=FluffConfig(overrides={"dialect": "redshift"}, ignore_local_config=True))
    results = []
    for sql in json.load(sys.stdin):
        parsed = linter.parse_string(sql, fname="<statement>")
        faults = [violation.desc() for violation in parsed.violations]
        kinds = []
        if parsed.tree is None:
            faults.append("no tree")
        else:
            kinds = [
                statement.segments[0].get_type() for statement in parsed.tree.recursive_crawl("statement")
            ]
            faults.extend(f"unparsable: {part.raw}" for part in parsed.tree.recursive_crawl("unparsable"))
        results.append({"kinds": kinds, "faults": faults})
    json.dump(results, sys.stdout)


main()
