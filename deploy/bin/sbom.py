#!/usr/bin/env python3
"""Writes what the binary is made of as CycloneDX 1.5 (JSON), from what cargo says:

    cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu | deploy/bin/sbom.py > sbom.cdx.json

Crates that only tests or the build need are left out. The same sources give the same bytes: there is no time in it.
"""

import hashlib
import json
import pathlib
import re
import sys
import uuid


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums(lock):
    """SHA-256 of each crate's archive, from Cargo.lock."""
    entry = re.compile(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"')
    return {(name, version): found for name, version, found in entry.findall(lock)}


def reached(metadata):
    """Packages that end in the binary, with what each depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, waiting = {}, [metadata["resolve"]["root"]]
    while waiting:
        at = waiting.pop()
        if at in found:
            continue
        normal = [d["pkg"] for d in nodes[at]["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
        found[at] = sorted(normal)
        waiting.extend(normal)
    return found


def licence(package):
    if package.get("license"):
        # The slash is cargo's old way to say OR.
        return [{"expression": package["license"].replace("/", " OR ")}]
    return [{"license": {"name": package.get("license_file") or "unknown"}}]


def component(package, sums, kind):
    made = {
        "type": kind,
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "licenses": licence(package),
        "purl": purl(package),
    }
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    found = sums.get((package["name"], package["version"]))
    if found:
        made["hashes"] = [{"alg": "SHA-256", "content": found}]
    if (package.get("repository") or "").startswith("https://"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def main():
    metadata = json.load(sys.stdin)
    lock = pathlib.Path(metadata["workspace_root"], "Cargo.lock").read_text(encoding="utf-8")
    packages = {package["id"]: package for package in metadata["packages"]}
    found = reached(metadata)
    sums = checksums(lock)
    root = metadata["resolve"]["root"]
    others = sorted((packages[i] for i in found if i != root), key=lambda p: (p["name"], p["version"]))
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "urn:uuid:" + str(uuid.UUID(bytes=hashlib.sha256(lock.encode()).digest()[:16], version=4)),
        "version": 1,
        "metadata": {"component": component(packages[root], sums, "application")},
        "components": [component(package, sums, "library") for package in others],
        "dependencies": [
            {"ref": purl(packages[i]), "dependsOn": sorted({purl(packages[d]) for d in depends})}
            for i, depends in sorted(found.items(), key=lambda item: purl(packages[item[0]]))
        ],
    }
    json.dump(bom, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
