"""Parses statements in Redshift's dialect with sqlglot, an independent parser: a list of texts in JSON on standard
input. LOCK is the only statement that sqlglot accepts without parsing it."""

import json
import logging
import sys

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

logging.disable(logging.WARNING)
statements = json.load(sys.stdin)
problems = []
for statement in statements:
    try:
        parsed = sqlglot.parse(statement, dialect="redshift", error_level=ErrorLevel.RAISE)
    except sqlglot.errors.ParseError as error:
        problems.append(f"{statement}\n    {error}")
        continue
    if len(parsed) != 1 or parsed[0] is None:
        problems.append(f"{statement}\n    {len(parsed)} statements")
    elif list(parsed[0].find_all(exp.Command)) and not statement.startswith("lock "):
        problems.append(f"{statement}\n    not understood")
print(len(statements), "parsed")
if problems:
    sys.exit("\n".join(problems))
