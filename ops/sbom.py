"""The software bill of materials: what `requirements.lock` installs, as CycloneDX JSON.

`python -m ops.sbom [FILE]`

From the lock (names, versions, sha256 of the files that may be installed) and the metadata of what
is installed (licence, what needs what); no network, no clock: the same lock and installation give
the same bytes. The serial number is made from them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from crossimpact import __version__
from crossimpact.atomic import write_atomic
from crossimpact.errors import UsageError
from ops.airflow_env import ROOT

LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
SPEC = "1.5"
#: CycloneDX asks for SPDX ids apart from free text; a licence longer than this is its whole text.
SHORT = 64
SPDX = re.compile(r"[A-Za-z0-9.+-]+")


@dataclass(frozen=True)
class Package:
    """A line of the lock: what may be installed, and the sha256 of each file of it."""

    name: str
    version: str
    sha256: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def locked(text: str) -> list[Package]:
    """The packages of a lock, by name.

    Raises
    ------
    UsageError
        When one has no hash, so that nobody knows what would be installed.
    """
    result = []
    for block in re.split(r"(?<!\\)\n", text):
        if found := PIN.match(block.strip()):
            hashes = tuple(sorted(set(SHA256.findall(block))))
            if not hashes:
                raise UsageError(f"{found[1]} has no hash in the lock", "run `make lock`")
            result.append(Package(canonicalize_name(found[1]), found[2], hashes))
    return sorted(result, key=lambda one: one.name)


def bill(packages: list[Package]) -> dict[str, Any]:
    """The bill of the packages, with this version of ours as what they are for."""
    by_name = {package.name: package for package in packages}
    ours = {"type": "application", "bom-ref": f"crossimpact@{__version__}", "name": "crossimpact",
            "version": __version__, "licenses": [{"license": {"id": "Apache-2.0"}}]}  # fmt: skip
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {"component": ours},
        "components": [_component(package) for package in packages],
        "dependencies": [
            {"ref": ours["bom-ref"], "dependsOn": [package.purl for package in packages]},
            *({"ref": p.purl, "dependsOn": _needs(p, by_name)} for p in packages),
        ],
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}", **body}


def _component(package: Package) -> dict[str, Any]:
    licences = list(_licences(package))
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in package.sha256],
        **({"licenses": licences} if licences else {}),
    }


def _installed(package: Package) -> Distribution | None:
    """The package, if that very version is installed."""
    try:
        found = distribution(package.name)
    except PackageNotFoundError:
        return None
    return found if found.version == package.version else None


def _licences(package: Package) -> Iterator[Mapping[str, Any]]:
    """As the package's metadata say: an expression, else classifiers, else a short text."""
    found = _installed(package)
    if found is None:
        return
    if expression := _field(found, "License-Expression"):
        yield (
            {"license": {"id": expression}}
            if SPDX.fullmatch(expression)
            else {"expression": expression}
        )
        return
    classifiers = found.metadata.get_all("Classifier") or []
    named = sorted({c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")})
    text = _field(found, "License")
    named = named or ([text] if text and len(text) <= SHORT and "\n" not in text else [])
    yield from ({"license": {"name": name}} for name in named)


def _field(found: Distribution, name: str) -> str:
    return next(iter(found.metadata.get_all(name) or ()), "").strip()


def _needs(package: Package, by_name: Mapping[str, Package]) -> list[str]:
    """What of the lock an installed package asks for, extras aside."""
    found = _installed(package)
    result = set()
    for line in (found.requires if found else None) or ():
        try:
            asked = Requirement(line)
        except InvalidRequirement:  # of another age
            continue
        wanted = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if wanted and (needed := by_name.get(canonicalize_name(asked.name))):
            result.add(needed.purl)
    return sorted(result - {package.purl})


def text(lock: Path = LOCK) -> str:
    """The bill of a lock as JSON."""
    return json.dumps(bill(locked(lock.read_text())), indent=1, sort_keys=True) + "\n"


def main(argv: list[str]) -> int:
    file = Path(argv[0]) if argv else Path("sbom.json")
    content = text()
    write_atomic(file, content)
    print(f"{file}: {content.count('purl')} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
