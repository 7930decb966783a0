// What a source exports, read and checked; and the `node` object its handlers get.
(function (host, api) {
  "use strict";

  const isArray = Array.isArray;
  const emit = host.emit;

  // As Node-RED: a message; or a list with one entry per output, each a message, a list of messages, or nothing.
  function send(message) {
    if (isArray(message)) sendPorts(message);
    else if (message !== null && message !== undefined) emit(0, message);
  }
  function sendPorts(ports) {
    for (let port = 0; port < ports.length; port++) {
      const entry = ports[port];
      if (isArray(entry)) {
        for (const message of entry) {
          if (message !== null && message !== undefined) emit(port, message);
        }
      } else if (entry !== null && entry !== undefined) {
        emit(port, entry);
      }
    }
  }
  api.send = send;
  api.sendLater = (promise) => Promise.resolve(promise).then(send);
  api.mark = Symbol("message");

  api.cloneMessage = (message) => {
    const copy = api.cloneLoosely(message);
    if (typeof message === "object" && message !== null && Object.hasOwn(message, api.mark)) {
      copy[api.mark] = message[api.mark];
    }
    return copy;
  };

  function deepFreeze(value) {
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
    Object.values(value).forEach(deepFreeze);
    return Object.freeze(value);
  }

  const keep = (value) => {
    const text = JSON.stringify(value);
    return text === undefined ? null : text;
  };
  const read = (text) => (text === null || text === undefined ? undefined : api.revive(JSON.parse(text)));
  const TRIES_MAX = 1000;
  const state = (run) => Object.freeze({
    get: (key) => read(host.stateGet(run, key)),
    set: (key, value) => {
      const text = keep(value);
      if (text === null) host.stateDelete(run, key);
      else host.stateSet(run, key, text);
    },
    delete: (key) => host.stateDelete(run, key),
    // Sets what `change` makes of the value, again if somebody else set it meanwhile.
    update: (key, change) => {
      for (let tries = 0; tries < TRIES_MAX; tries++) {
        const old = host.stateGet(run, key);
        const value = change(read(old));
        if (value instanceof Promise) throw new TypeError("node.state.….update(): the function must give the value, not a promise");
        const text = keep(value);
        if (host.stateSwap(run, key, old, text)) return value;
      }
      throw new Error(`node.state.….update(): "${key}" changed ${TRIES_MAX} times meanwhile`);
    },
  });
  const states = Object.freeze({ run: state(true), node: state(false) });

  const context = (level) => Object.freeze({
    get: (path) => host.contextGet(level, path),
    set: (path, value) => host.contextSet(level, path, value),
  });
  const flow = context(1);
  const global = context(2);
  const own = Object.freeze({ ...context(0), flow, global });

  const files = Object.freeze({
    read: (path, encoding) => {
      const bytes = host.read(path);
      return encoding === undefined ? bytes : bytes.toString(encoding);
    },
  });

  // The text of what was passed to node.log and its kin: an Error as its text, objects shown.
  const said = (value) => api.format([value instanceof Error ? String(value) : value]);

  const isMessage = (value) => typeof value === "object" && value !== null;
  let config;
  api.node = Object.freeze({
    send,
    done() {},
    debug: (value) => host.log(0, said(value)),
    trace: (value) => host.log(0, said(value)),
    log: (value) => host.log(1, said(value)),
    warn: (value) => host.log(2, said(value)),
    // With a message it is an error of that message: catch nodes get it once the handler is done.
    error: (value, message) => {
      if (isMessage(message)) host.report(said(value), typeof value?.code === "string" ? value.code : undefined);
      else host.log(3, said(value));
    },
    status: (what) => {
      if (typeof what === "object" && what !== null) host.status(what.fill, what.shape, what.text ?? "");
      else host.status(undefined, undefined, what ?? "");
    },
    get id() { return host.id(); },
    get run() { return host.run(); },
    get caller() { return host.caller(); },
    get config() { return (config ??= deepFreeze(host.config())); },
    secret: (name) => host.secret(String(name)),
    state: states,
    evidence: (key, value, outcome) => host.evidence(key, value, outcome),
    typedInput: (kind, text) => host.typedInput(String(kind), text ?? ""),
    context: () => own,
    flow,
    global,
    files,
    now: () => host.now("node.now()"),
  });

  // --- RED.util, as far as function nodes use it

  // `a.b[0]["c d"]` as ["a", "b", 0, "c d"].
  function path(expression) {
    const keys = [];
    let rest = String(expression);
    const shape = /^(?:\.?([^.[\]"'\s]+)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\])/;
    while (rest !== "") {
      const found = (keys.length === 0 && rest.startsWith(".")) ? null : shape.exec(rest);
      if (found === null) throw new Error(`Invalid property expression: ${expression}`);
      keys.push(found[2] === undefined ? found[1] ?? found[3] ?? found[4] : Number(found[2]));
      rest = rest.slice(found[0].length);
    }
    if (keys.length === 0) throw new Error("Invalid property expression: zero-length");
    return keys;
  }
  const within = (object, expression) => path(expression).reduce((at, key) => at[key], object);
  function put(object, expression, value, create = value !== undefined) {
    const keys = path(expression);
    const last = keys.pop();
    let at = object;
    for (const [i, key] of keys.entries()) {
      if (!isMessage(at[key])) {
        if (!create) return false;
        at[key] = typeof (keys[i + 1] ?? last) === "number" ? [] : {};
      }
      at = at[key];
    }
    if (value === undefined) delete at[last];
    else at[last] = value;
    return true;
  }
  const withoutMsg = (expression) => (expression.startsWith("msg.") ? expression.slice(4) : expression);
  function same(a, b) {
    if (Object.is(a, b)) return true;
    if (!isMessage(a) || !isMessage(b) || isArray(a) !== isArray(b)) return false;
    if (Buffer.isBuffer(a) && Buffer.isBuffer(b)) return a.equals(b);
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((k) => Object.hasOwn(b, k) && same(a[k], b[k]));
  }
  api.define("RED", Object.freeze({
    util: Object.freeze({
      cloneMessage: api.cloneMessage,
      getMessageProperty: (message, expression) => within(message, withoutMsg(expression)),
      setMessageProperty: (message, expression, value, create) => put(message, withoutMsg(expression), value, create),
      getObjectProperty: within,
      setObjectProperty: put,
      compareObjects: same,
      ensureString: (value) => {
        if (Buffer.isBuffer(value)) return value.toString();
        return typeof value === "object" ? JSON.stringify(value) : String(value);
      },
      ensureBuffer: (value) => {
        if (Buffer.isBuffer(value)) return value;
        return Buffer.from(typeof value === "object" ? JSON.stringify(value) : String(value));
      },
      generateId: () => host.decode(host.randomBytes("RED.util.generateId()", 8), "hex"),
    }),
  }));

  // --- what a source exports

  const KNOWN = new Set([
    "type", "version", "category", "color", "icon", "summary", "help", "inputs", "outputs", "config", "wants",
    "capabilities", "process", "runEnd",
  ]);

  function schema(config) {
    if (typeof config.type === "string" || "$schema" in config || "$ref" in config) return config;
    const properties = {};
    const required = [];
    for (const [name, property] of Object.entries(config)) {
      if (property?.required === true) {
        const { required: _, ...rest } = property;
        properties[name] = rest;
        required.push(name);
      } else {
        properties[name] = property;
      }
    }
    return required.length === 0 ? { type: "object", properties } : { type: "object", properties, required };
  }

  function definition(given, label, problems) {
    const wrong = (text) => { problems.push(`${label}: ${text}`); };
    if (typeof given !== "object" || given === null || isArray(given)) {
      wrong("must be an object like { type: \"greet\", process(msg, node) { … } }");
      return null;
    }
    const get = (key, fallback, fits, expected) => {
      const value = given[key] ?? fallback;
      if (fits(value)) return value;
      wrong(`\`${key}\` must be ${expected}`);
      return fallback;
    };
    const isText = (v) => typeof v === "string";
    const isTexts = (v) => isArray(v) && v.every(isText);
    for (const key of Object.keys(given)) {
      if (!KNOWN.has(key) && typeof given[key] !== "function") {
        wrong(`\`${key}\` is not known; known are ${[...KNOWN].join(", ")}`);
      }
    }
    const type = get("type", undefined, (v) => isText(v) && /^\S+$/.test(v), "the node type's name, as flows write it, without spaces");
    const version = get("version", "1.0.0", (v) => isText(v) && /^\d+\.\d+\.\d+$/.test(v), "MAJOR.MINOR.PATCH");
    const category = get("category", "function", isText, "a text");
    const color = get("color", "#f2dd8a", (v) => isText(v) && /^#[0-9a-fA-F]{6}$/.test(v), "a colour like \"#a6bbcf\"");
    const icon = get("icon", "fa-code", (v) => isText(v) && /^fa-[a-z0-9-]+$/.test(v), "a Font Awesome 4 name like \"fa-filter\"");
    const summary = get("summary", "", isText, "a text");
    const help = get("help", "", isText, "a text (Markdown)");
    const inputs = get("inputs", 1, (v) => v === 0 || v === 1, "0 or 1");
    let outputs = get("outputs", 1, (v) => isTexts(v) || (Number.isInteger(v) && v >= 0 && v <= 1000), "a list of labels, or how many there are");
    if (typeof outputs === "number") outputs = Array.from({ length: outputs }, (_, i) => (outputs === 1 ? "output" : `output ${i + 1}`));
    const config = get("config", {}, (v) => isMessage(v) && !isArray(v), "an object: the properties' JSON Schemas by name, or a whole schema of an object");
    const wants = get("wants", null, (v) => v === null || isTexts(v), "a list of message properties, or left out for all");
    const capabilities = get("capabilities", [], isTexts, "a list of capabilities' names");
    for (const name of isTexts(capabilities) ? capabilities : []) {
      if (!host.capability(name)) {
        wrong(`\`capabilities\`: "${name}" is none; there are clock, random, secret, http, state, evidence, typed-input, context, files`);
      }
    }
    if (typeof given.process !== "function") wrong("`process` must be a function (msg, node)");
    if (given.runEnd !== undefined && typeof given.runEnd !== "function") wrong("`runEnd` must be a function (msg, node)");
    let text = "{}";
    try {
      text = JSON.stringify(schema(config));
    } catch (error) {
      wrong(`\`config\` is no JSON: ${error.message}`);
    }
    return {
      type, version, category, color, icon, summary, help, inputs, outputs, config: text, wants, capabilities,
      self: given, process: given.process, runEnd: given.runEnd,
    };
  }

  // The node types a module exports; throws an Error that lists everything that is wrong.
  api.definitions = (exports) => {
    const problems = [];
    const given = exports.nodes ?? exports.node ?? exports.default;
    if (given === undefined) {
      throw new Error("exports no node: write `export const node = { type: \"…\", process(msg, node) { … } }`, or `export const nodes = [ … ]`");
    }
    const list = isArray(given) ? given : [given];
    if (list.length === 0) problems.push("`nodes` is empty");
    const made = list.map((entry, i) => {
      const name = isText(entry?.type) ? `node "${entry.type}"` : isArray(given) ? `nodes[${i}]` : "node";
      return definition(entry, name, problems);
    });
    for (const [i, entry] of made.entries()) {
      if (entry && made.findIndex((other) => other?.type === entry.type) < i) problems.push(`node "${entry.type}" is there twice`);
    }
    if (problems.length > 0) throw new Error(problems.join("; "));
    return made;
  };
  const isText = (v) => typeof v === "string";
})
