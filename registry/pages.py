"""What MLflow shows of a release: tags, texts, and a model file with signature and example.

The model file is a description alone. Its one flavor is our own and names no code, so that MLflow's
`load_model` refuses it: who wants the numbers reads the release's files.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from crossimpact.consumer.address import FOLDER, MODEL, of_desk
from crossimpact.release import bundle
from crossimpact.release.bundle import Release

EXPERIMENT = of_desk("crossimpact-refit")
CARD = "model_card.md"
MODEL_FILE = "MLmodel"
EXAMPLE = "input_example.json"
EXAMPLE_FLOW = 0.01  # of ADV
DESCRIPTION_LENGTH = 5000  # what the registry's database holds
LEFT_LENGTH = 200  # of the line that names the sections left out
GAP = "\u00a0\u00a0"

INPUTS = (
    {"name": "regime", "type": "string", "required": True},
    {"name": "symbol", "type": "string", "required": True},
    {"name": "q_adv", "type": "double", "required": True},
)
OUTPUTS = (
    {"name": "self_bps", "type": "double", "required": True},
    {"name": "cross_bps", "type": "double", "required": True},
)

ABOUT = f"""\
What trading one name does to the others: per regime `alpha`, `beta` and the sparse matrix `gamma`
(bps on i per unit of ADV fraction in j; positive: trading both the same way costs more together),
the fallback ladder, and guardrail levels. Each version is one refit; its card describes it.

- `champion` answers live; `crossimpact promote` and `rollback` alone move it.
- `challenger` is the newest refit, waiting for the gates and a human.

**To read it live**: the client resolves the champion once, verifies it against the ledger, and
always has an answer, within its deadline.

```python
from crossimpact.consumer.client import Client
client = Client(uri, ledger, cache, clock=clock)
client.pull()
model, rung, reason, max_pov = client.answer("normal")
```

**By other means**: download the folder `{FOLDER}/` of the version's run and compare the sha256 of
its `{bundle.MANIFEST}` with the digest in the ledger. The files are JSON and `.npy` tables of
numbers; `crossimpact export gamma FILE.csv` writes a CSV.

There is nothing to execute in a version: `mlflow.pyfunc.load_model` refuses it on purpose.
Tags and aliases can be edited by many: where they and the ledger differ, the ledger counts."""


#: Below a server's address. MLflow 3.17 opens an experiment on an overview of GenAI traces unless
#: the address says otherwise: its pages ask a browser's own setting, not the experiment's kind.
RELEASES = f"/#/models/{MODEL}"
REFITS = "/#/experiments/{experiment_id}/runs?workflowType=machine_learning"

#: How MLflow's own pages show an experiment and its runs.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": f"Refits of cross impact; what they made is in the model `{MODEL}`.",
}
RUN_TAGS = {"mlflow.source.name": "crossimpact refit", "mlflow.source.type": "LOCAL"}


def tags(release: Release) -> dict[str, str]:
    """Tags of the run and the version."""
    window = release.window
    return {
        "regime": ",".join(sorted(release.models)),
        "as_of": release.as_of,
        "digest": release.digest,
        **{f"rung.{regime}": policy.rung for regime, policy in release.fallback.items()},
        "window": f"{window.first}..{window.last} ({window.dates} dates)",
        "flow": release.flow,
        "bucket_s": str(release.bucket_s),
        "contract_version": release.contract_version,
        "code_version": release.code_version,
        "data_digest": release.data_digest,
    }


def urls(uri: str, version: int, run: str) -> dict[str, str]:
    """Where people look at a version and its run in MLflow's pages; nowhere without a server."""
    if not uri.startswith("http"):
        return {}
    base = uri.rstrip("/")
    return {
        "release": f"{base}/#/models/{MODEL}/versions/{version}", "run": f"{base}/#/runs/{run}",
    }  # fmt: skip


def description(card: str, reports: str = "") -> str:
    """The card as the registry holds it, after a link to the desk's reports where their address is
    known: the sections that fit, whole, and which do not."""
    if reports:
        card = f"What was traded and what it cost: [the desk's reports]({reports}).\n\n{card}"
    head, *sections = re.split(r"^(?=## )", _spaced(card), flags=re.MULTILINE)
    kept, left, room = [head], [], DESCRIPTION_LENGTH - len(head) - LEFT_LENGTH
    for section in sections:
        if len(section) <= room:
            kept.append(section)
            room -= len(section)
        else:
            left.append(section.splitlines()[0].removeprefix("## "))
    more = f"*In `{CARD}` of the run also: {', '.join(left)}.*" if left else ""
    return ("".join(kept) + more)[:DESCRIPTION_LENGTH]


def _spaced(card: str) -> str:
    """MLflow's pages set a table's columns, and what follows it, without a gap."""
    rows = re.compile(r"^\|(?! ---).*\|$", re.MULTILINE)
    apart = rows.sub(lambda row: row[0].replace(" | ", f"{GAP} | "), card)
    return apart.replace("|\n\n", f"|\n\n{GAP}\n\n")


def example(release: Release) -> list[tuple[str, str, float, float, float]]:
    """One bucket of trading 1% of ADV in the two names of the strongest pair, per regime.

    Returns
    -------
    list of tuple
        `regime`, `symbol`, `q_adv`; then what the model answers, `self_bps` and `cross_bps`.
    """
    rows = []
    for regime, model in sorted(release.models.items()):
        size = np.abs(model.scaled - np.diag(np.diag(model.scaled)))
        pair = sorted({int(k) for k in np.unravel_index(size.argmax(), size.shape)})
        q = np.zeros(model.n)
        q[pair] = EXAMPLE_FLOW
        own, cross = model.self_bps(q), model.cross_bps(q)
        rows += [
            (regime, model.symbols[k], EXAMPLE_FLOW, float(own[k]), float(cross[k])) for k in pair
        ]
    return rows


def files(release: Release) -> dict[str, str]:
    """The model file and its input example, by name."""
    columns = [str(column["name"]) for column in INPUTS]
    shown = {"columns": columns, "data": [row[: len(columns)] for row in example(release)]}
    model: dict[str, Any] = {
        "flavors": {
            "crossimpact": {"schema_version": release.schema_version, "digest": release.digest}
        },
        "signature": {"inputs": json.dumps(INPUTS), "outputs": json.dumps(OUTPUTS)},
        "saved_input_example_info": {
            "artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split",
        },
        "metadata": {"as_of": release.as_of, "files": FOLDER},
    }  # fmt: skip
    return {MODEL_FILE: json.dumps(model, indent=2), EXAMPLE: json.dumps(shown)}
