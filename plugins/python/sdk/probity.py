"""Write Probity plugins in Python: nodes for flows that run sandboxed as WASM. See docs/plugins/python.md."""

import json
import sys
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Description
from wit_world.imports import node as host
from wit_world.imports.types import Failure, Property, Value_Bytes, Value_Json

# Only what plugin.toml asks for is there.
try:
    from wit_world.imports import clock
except ImportError:
    clock = None
try:
    from wit_world.imports import random
except ImportError:
    random = None
try:
    from wit_world.imports import secrets
except ImportError:
    secrets = None
try:
    from wit_world.imports import http
except ImportError:
    http = None
try:
    from wit_world.imports import state
except ImportError:
    state = None
try:
    from wit_world.imports import evidence
except ImportError:
    evidence = None
try:
    from wit_world.imports import typed_input
except ImportError:
    typed_input = None
try:
    from wit_world.imports import context
except ImportError:
    context = None
try:
    from wit_world.imports import files
except ImportError:
    files = None

_nodes = {}


class Error(Exception):
    """Why a message could not be handled; `code` becomes msg.error.code."""

    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = code


class Message(dict):
    """A message: its properties by name. JSON is Python's values, a Buffer is bytes, what is undefined is not there."""

    def __init__(self, *values, **named):
        super().__init__(*values, **named)
        self._came = None
        self.run = ""
        self.caller = False

    @classmethod
    def _of(cls, came):
        msg = cls()
        msg._came = {}
        msg.run, msg.caller = came.run, came.caller
        for part in came.properties:
            # Only reading tells what was changed, however deep.
            msg._came[part.name] = _text(_read(part.value))
            msg[part.name] = _read(part.value)
        return msg


class Config(dict):
    """The node's properties, also as attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the node has no property {name}") from None


class Context:
    """The node and its surroundings, during one call."""

    def __init__(self, came):
        self._came = came
        self._config = None

    @property
    def config(self):
        if self._config is None:
            self._config = Config(json.loads(host.config()))
        return self._config

    @property
    def id(self):
        return host.id()

    def emit(self, port, msg):
        """Sends a message by an output, counted from 0; as often as you like."""
        came = getattr(msg, "_came", None)
        known = came or {}
        put = [Property(name, _write(value)) for name, value in msg.items() if known.get(name) != _text(value)]
        gone = [name for name in known if name not in msg]
        _call(host.emit, host.Emission(port=port, keep=came is not None, set=put, delete=gone))

    def status(self, text="", fill=None, shape=None):
        host.status(fill, shape, text)

    def log(self, text):
        host.log(host.Level.INFO, str(text))

    def debug(self, text):
        host.log(host.Level.DEBUG, str(text))

    def warn(self, text):
        host.log(host.Level.WARN, str(text))

    def error(self, text):
        host.log(host.Level.ERROR, str(text))

    def evidence(self, key, value, outcome=None):
        """Keeps a fact the verdict rests on: for (True), against (False) or neither (None); gives its id."""
        return _call(_granted(evidence, "evidence").attach, key, _text(value), outcome)

    def now_ms(self):
        return _granted(clock, "clock").now()

    def sleep_ms(self, ms):
        _granted(clock, "clock").sleep(ms)

    def random(self, count):
        return _granted(random, "random").bytes(count)

    def secret(self, name):
        """A placeholder that the engine replaces in URL, headers and body of a request."""
        return _call(_granted(secrets, "secret").placeholder, name)

    def http(self, method, url, headers=None, body=b"", timeout_ms=None):
        """Gives status, headers and body (bytes) of the response."""
        module = _granted(http, "http")
        if isinstance(body, (dict, list)):
            body, headers = _text(body), {"content-type": "application/json", **(headers or {})}
        data = body.encode() if isinstance(body, str) else bytes(body)
        pairs = [(str(name), str(value)) for name, value in (headers or {}).items()]
        return _call(module.send, module.Request(method=method, url=url, headers=pairs, body=data, timeout_ms=timeout_ms))

    @property
    def run_state(self):
        return State(_granted(state, "state").Scope.RUN)

    @property
    def node_state(self):
        return State(_granted(state, "state").Scope.NODE)

    def evaluate(self, kind, text):
        """A typed input; None when it is undefined."""
        found = _call(_granted(typed_input, "typed-input").evaluate, kind, text)
        return None if found is None else _read(found)

    def get_context(self, level, path):
        """Of "node", "flow" or "global"; None when it is undefined."""
        module = _granted(context, "context")
        found = _call(module.get, module.Level[level.upper()], path)
        return None if found is None else json.loads(found)

    def set_context(self, level, path, value):
        module = _granted(context, "context")
        _call(module.set, module.Level[level.upper()], path, None if value is None else _text(value))

    def read_file(self, path):
        """Bytes of a file below the folders the operator named."""
        return _call(_granted(files, "files").read, path)


class State:
    """Keys and values (JSON) of a run or a node."""

    def __init__(self, scope):
        self._scope = scope

    def get(self, key, default=None):
        found = state.get(self._scope, key)
        return default if found is None else json.loads(found)

    def set(self, key, value):
        _call(state.set, self._scope, key, _text(value).encode())

    def delete(self, key):
        state.delete(self._scope, key)

    def update(self, key, change, default=None):
        """Sets what `change` makes of the value, in one step, whoever else changes it; gives the new one."""
        while True:
            old = state.get(self._scope, key)
            new = change(default if old is None else json.loads(old))
            if _call(state.compare_and_set, self._scope, key, old, _text(new).encode()):
                return new


def node(type, category="plugins", **more):
    """Makes a function `(msg, cx)` a node type.

    `summary` and `help` (else the function's docstring), `version`, `color`, `icon`, `inputs` (1, or 0), `outputs`
    (labels), `wants` (message properties that are handed over; all when left out), `capabilities`, `config` (JSON Schema
    of its properties by name, or a whole schema), `run_end` (a function like the node's, called when a run is over).
    """

    def enter(process):
        known = {"summary", "help", "version", "color", "icon", "inputs", "outputs", "wants", "capabilities", "config"}
        wrong = sorted(more.keys() - known - {"run_end"})
        if wrong:
            raise TypeError(f"node {type}: unknown: {', '.join(wrong)}")
        summary, _, help = (process.__doc__ or type).strip().partition("\n")
        config = more.get("config", {})
        if config.get("type") != "object" or not isinstance(config.get("properties"), dict):
            config = {"type": "object", "properties": config}
        description = Description(
            node_type=type,
            version=more.get("version", "1.0.0"),
            category=category,
            color=more.get("color", "#a6bbcf"),
            icon=more.get("icon", "fa-puzzle-piece"),
            summary=more.get("summary", summary),
            help=more.get("help", "\n".join(line.strip() for line in help.strip().splitlines())),
            inputs=more.get("inputs", 1),
            outputs=list(more.get("outputs", [""])),
            config=json.dumps(config),
            wants=list(more["wants"]) if "wants" in more else None,
            capabilities=list(more.get("capabilities", [])),
            at_run_end="run_end" in more,
        )
        _nodes[type] = (description, process, more.get("run_end"))
        return process

    return enter


class _Log:
    """Where print goes: line by line into the log."""

    def __init__(self, level):
        self._level, self._line = level, ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            host.log(self._level, line)
        return len(text)

    def flush(self):
        pass


sys.stdout, sys.stderr = _Log(host.Level.INFO), _Log(host.Level.WARN)


class Handler(exports.Handler):
    def describe(self):
        return [description for description, _, _ in _nodes.values()]

    def process(self, node_type, input):
        _handle(_nodes[node_type][1], input)

    def run_end(self, node_type, last):
        _handle(_nodes[node_type][2], last)


def _handle(function, came):
    try:
        function(Message._of(came), Context(came))
    except Error as error:
        raise Err(Failure(str(error), error.code)) from None
    except Exception as error:
        # The author's line, as far in as their own code goes.
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if _is_authors(frame)]
        place = f" (node.py:{lines[-1]})" if lines else ""
        raise Err(Failure(f"{type(error).__name__}: {error}{place}", None)) from None


def _is_authors(frame):
    return frame.f_code.co_filename.endswith("node.py")


def _call(function, *values):
    try:
        return function(*values)
    except Err as error:
        raise Error(error.value.message, error.value.code) from None


def _granted(module, capability):
    if module is None:
        raise Error(f'the node uses the capability "{capability}"; add a [[capability]] of this name to plugin.toml and build')
    return module


def _read(value):
    return value.value if isinstance(value, Value_Bytes) else json.loads(value.value)


def _write(value):
    return Value_Bytes(bytes(value)) if isinstance(value, (bytes, bytearray)) else Value_Json(_text(value))


def _text(value):
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
