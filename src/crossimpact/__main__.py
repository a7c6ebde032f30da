"""The command `crossimpact`.

In a checkout it is the platform's command line, `cli`. Where the wheel is installed alone it has
what a consumer of releases needs: pull the champion, verify a ledger.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from crossimpact import __version__
from crossimpact.errors import CrossImpactError

CHECKOUT = Path(__file__).resolve().parents[2]
PLATFORM = "refits, gates, TCA and the rest are the platform's: run them from its checkout"


def main() -> None:
    """Entry point; exit codes as everywhere: 0 ok, 1 error, 2 usage, 5 no usable model."""
    if (CHECKOUT / "cli" / "main.py").is_file():
        import_module("cli.main").main()
        return
    words = _parser().parse_args()
    try:
        sys.exit(words.run(words))
    except CrossImpactError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("crossimpact", description=__doc__, epilog=PLATFORM)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    pull = commands.add_parser("pull", help="who answers now, within 2 s (exit 5: a fallback)")
    pull.add_argument("--uri", required=True, help="http://HOST:PORT of MLflow, or sqlite:///FILE")
    pull.add_argument("--ledger", required=True, type=Path, help="the ledger's file")
    pull.add_argument("--cache", required=True, type=Path, help="folder of this reader alone")
    pull.set_defaults(run=_pull)
    verify = commands.add_parser("verify", help="whether a ledger is whole (exit 1 when not)")
    verify.add_argument("ledger", type=Path, help="the ledger's file")
    verify.set_defaults(run=_verify)
    for command in (pull, verify):
        command.add_argument("--json", action="store_true", help="machine output on stdout")
    return parser


def _pull(words: argparse.Namespace) -> int:
    from crossimpact.consumer.client import Client

    served = Client(words.uri, words.ledger, words.cache, clock=lambda: datetime.now(UTC)).pull()
    _show(served.to_dict(), as_json=words.json)
    return 5 if served.state == "fallback" else 0


def _verify(words: argparse.Namespace) -> int:
    from crossimpact.release import ledger

    verdict = ledger.verify(words.ledger)
    _show(verdict.to_dict(), as_json=words.json)
    return 0 if verdict.ok else 1


def _show(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, sort_keys=True))
        return
    for name, value in data.items():
        if isinstance(value, list):
            for row in value:
                head, *rest = ((key, cell) for key, cell in row.items() if cell not in (None, ""))
                print(f"  {head[1]:13s} {', '.join(f'{key} {cell}' for key, cell in rest)}")
        elif value not in (None, ""):
            print(f"{name:15s} {value}")


if __name__ == "__main__":
    main()
