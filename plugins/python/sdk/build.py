"""Makes a component of node.py with componentize-py; `probity plugin build` runs it in the plugin's folder."""

import pathlib
import shutil
import subprocess
import sys
import tomllib

INTERFACES = {"secret": "secrets"}

manifest = tomllib.loads(pathlib.Path("plugin.toml").read_text())
tool = shutil.which("componentize-py", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("componentize-py")
if tool is None:
    sys.exit("there is no componentize-py; in this folder: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt")

# The world of this plugin: of the contract only what plugin.toml asks for.
wit = pathlib.Path("target/wit")
wit.mkdir(parents=True, exist_ok=True)
contract = pathlib.Path("sdk/plugin.wit").read_text()
(wit / "plugin.wit").write_text(contract)
package = next(line for line in contract.splitlines() if line.startswith("package "))
names = [capability["name"] for capability in manifest.get("capability", [])]
imports = "".join(f"  import {INTERFACES.get(name, name)};\n" for name in ["node", *names])
(wit / "this.wit").write_text(f"{package}\n\nworld this {{\n{imports}  export handler;\n}}\n")

command = [tool, "--quiet", "--wit-path", str(wit), "--world", "this", "componentize", "app"]
command += ["--python-path", ".", "--python-path", "sdk", "--stub-wasi", "--output", "target/plugin.wasm"]
sys.exit(subprocess.run(command).returncode)
