// The sandbox of a function node: the names Node-RED gives its code, and what happens to a message in it.
(function (host, api) {
  "use strict";

  const { define } = api;
  const isArray = Array.isArray;
  const isMessage = (value) => typeof value === "object" && value !== null;

  // What other JavaScript here has and Node-RED's function nodes do not.
  for (const name of ["performance", "crypto", "structuredClone", "setImmediate", "clearImmediate", "queueMicrotask",
    "atob", "btoa", "TextEncoder", "TextDecoder", "DOMException"]) {
    delete globalThis[name];
  }

  // --- messages

  // The message whose code runs, by its number; 0 while the node starts or stops.
  let current = 0;
  // What is left to be done of messages whose first call is over, by their number.
  const open = new Map();
  // Numbers of such messages that are done, since it was last told.
  let closed = [];
  let usedStatus = false;
  let stopping = false;
  const closers = [];

  const said = (value) => (typeof value === "string" ? value : api.format([value instanceof Error ? String(value) : value]));

  // A text for a thrown value, with the line of the author's code where JavaScript itself found the fault.
  function told(error) {
    if (!isMessage(error)) return { text: typeof error === "string" ? error : JSON.stringify(error) ?? String(error) };
    if (!(error instanceof Error) && !Object.hasOwn(error, "stack")) return { text: JSON.stringify(error) };
    const stack = typeof error.stack === "string" ? error.stack : "";
    const place = /\b(body|setup|cleanup):(\d+):(\d+)/.exec(stack);
    let text = String(error).replace(/^(\w+: )?cannot read property '(.*)' of (undefined|null)$/, "$1Cannot read properties of $3 (reading '$2')");
    if (text === "InternalError: interrupted") text = `the code ran longer than ${limit} ms`;
    if (place !== null && error.name !== "Error" && !/ \(line \d+/.test(text)) {
      const part = place[1] === "body" ? "" : `${place[1]} `;
      text += ` (${part}line ${Math.max(1, Number(place[2]) - 1)}, col ${place[3]})`;
    }
    const code = error.code;
    return { text, stack, code: typeof code === "string" || typeof code === "number" ? String(code) : undefined };
  }

  // An error of a message, for catch nodes.
  function raise(text, code, message, origin) {
    host.origin(origin);
    host.emitError(text, code, message);
  }
  function fail(error, message, origin) {
    const { text, code, stack } = told(error);
    // As Node-RED: catch nodes find it as `msg._error`.
    if (stack !== undefined && error instanceof Error) message.error = error;
    raise(text, code, message, origin);
  }

  // As Node-RED sends: a message, or a list with an entry per output; each keeps the id of the message that came.
  // Messages sent with clone = false are read when the code is done, and all after them.
  let deferred = null;
  function put(port, message, origin, clone) {
    if (deferred !== null || !clone) {
      (deferred ??= []).push([port, clone ? api.cloneMessage(message) : message, origin]);
      return;
    }
    host.origin(origin);
    host.emit(port, message);
  }
  function flush() {
    if (deferred === null) return;
    const list = deferred;
    deferred = null;
    for (const [port, message, origin] of list) {
      host.origin(origin);
      host.emit(port, message);
    }
  }
  function putOne(port, message, origin, msgid, clone) {
    if (message === null || message === undefined) return;
    if (typeof message === "object" && !isArray(message) && !Buffer.isBuffer(message)) {
      if (message._msgid !== msgid) message._msgid = msgid;
      put(port, message, origin, clone);
      return;
    }
    const type = typeof message !== "object" ? typeof message : Buffer.isBuffer(message) ? "Buffer" : "Array";
    host.log(3, `Function tried to send a message of type ${type}`);
  }
  function sendFrom(origin, msgid, messages, clone) {
    if (messages === null || messages === undefined) return;
    if (!isArray(messages)) {
      putOne(0, messages, origin, msgid, clone);
      return;
    }
    for (let port = 0; port < messages.length; port++) {
      const entry = messages[port];
      if (isArray(entry)) for (const message of entry) putOne(port, message, origin, msgid, clone);
      else if (entry) putOne(port, entry, origin, msgid, clone);
    }
  }

  // --- `node`

  const base = {
    id: "", name: "", path: "", outputCount: 0,
    log: (value) => host.log(1, said(value)),
    warn: (value) => host.log(2, said(value)),
    debug: (value) => host.log(0, said(value)),
    trace: (value) => host.log(0, said(value)),
    error(value, message) {
      if (!isMessage(message)) {
        host.log(3, said(value));
        return;
      }
      const code = isMessage(value) && typeof value.code === "string" ? value.code : undefined;
      raise(isMessage(value) && !(value instanceof Error) ? said(value) : String(value || ""), code, message, current);
    },
    status(what) {
      usedStatus = true;
      if (isMessage(what)) {
        const text = what.text === undefined || what.text === null ? "" : String(what.text);
        host.status(what.fill === undefined ? undefined : String(what.fill), what.shape === undefined ? undefined : String(what.shape), text);
      } else {
        host.status(undefined, undefined, what === undefined || what === null ? "" : String(what));
      }
    },
    on(event, handler) {
      if (event === "input") throw new Error("cannot add listener to 'input' event within Function");
      if (event === "close" && typeof handler === "function") closers.push(handler);
    },
    linkcall(target, message, options) {
      if (typeof target !== "string" || target.trim() === "") return Promise.reject(new Error("linkcall: the target must be the name or id of a link in node"));
      if (!isMessage(message)) return Promise.reject(new Error("linkcall: the message must be an object"));
      return new Promise((resolve, reject) => {
        const id = ++lastCall;
        host.origin(current);
        try {
          host.linkCall(String(id), target, Number(options?.timeout) || 5000, message);
        } catch (error) {
          reject(error);
          return;
        }
        // What comes back of a call that is not known here is nobody's.
        calls.set(id, { resolve, reject, origin: current });
        hold(current);
      });
    },
  };
  let lastCall = 0;
  const calls = new Map();

  // The object a message's code knows as `node`. `send` and `done` also work when taken off it.
  function nodeFor(origin, msgid) {
    return {
      __proto__: base,
      send: (messages, clone) => sendFrom(origin, msgid, messages, clone !== false),
      done: (error) => finished(origin, error),
    };
  }

  // --- what is left of a message when its call is over

  function entryOf(origin) {
    let entry = open.get(origin);
    if (entry === undefined) open.set(origin, (entry = { held: 0, settled: true, done: true }));
    return entry;
  }
  function hold(origin) {
    if (origin !== 0) entryOf(origin).held++;
  }
  function release(origin) {
    const entry = open.get(origin);
    if (entry === undefined) return;
    entry.held--;
    over(origin, entry);
  }
  // Done when its promise is settled and none of its timers waits; `done()`, where the code calls it, counts instead.
  function over(origin, entry) {
    if (entry.held > 0 || !entry.settled || !entry.done) return;
    open.delete(origin);
    if (origin !== current || entry.told) closed.push(origin);
  }
  function finished(origin, error) {
    const entry = open.get(origin);
    if (error !== undefined && error !== null) fail(error, entry?.message ?? {}, origin);
    if (entry === undefined) return;
    entry.done = true;
    over(origin, entry);
  }

  // --- the code

  let body, initialize, finalize;
  let callsDone = false;
  // How long a call may compute.
  let limit = 0;
  let globalNames = 0;

  // The functions of a node's code: `made` is given the text of each and what stands for its file.
  function functions({ func, initialize, finalize }, made) {
    const one = (name, head, code, asynchronous) =>
      made(`(${asynchronous ? "async " : ""}function (${head}) {\n${code}\n})`, name);
    return {
      body: one("body", "msg, node, __send__, __done__", func, /\bawait\b/.test(func)),
      initialize: initialize.trim() === "" ? undefined : one("setup", "node", initialize, true),
      finalize: finalize.trim() === "" ? undefined : one("cleanup", "node", finalize, false),
    };
  }

  // Whether the code of many nodes is JavaScript. None of it runs, so that no node's code meets another's.
  api.check = (setups) => {
    for (const setup of setups) functions(setup, host.parse);
  };

  api.load = (setup) => {
    base.id = setup.id;
    base.name = setup.name;
    base.path = setup.path;
    base.outputCount = setup.outputs;
    for (const { name, module, source } of setup.libs) {
      const made = { exports: {} };
      const load = host.compile(`(function (module, exports, require) {\n${source}\n})`, `lib-${module}`);
      load.call(made.exports, made, made.exports, (other) => {
        throw new Error(`the module "${module}" wants "${other}": bundle it into one file`);
      });
      globalThis[name] = made.exports?.default ?? made.exports;
    }
    limit = setup.limit;
    const code = setup.func;
    ({ body, initialize, finalize } = functions(setup, host.compile));
    callsDone = /node\.done\s*\(\s*\)/.test(code.replace(/\/\*[^]*?\*\/|\/\/[^\n]*/g, ""));
    globalNames = Object.keys(globalThis).length;
  };

  const isPromise = (value) => isMessage(value) && typeof value.then === "function";

  // The node starts; what it does until its promise is settled keeps messages waiting.
  api.start = () => {
    current = 0;
    if (initialize === undefined) return;
    const node = { __proto__: base, send: (messages) => sendFrom(0, api.generateId(), messages, true) };
    const entry = { held: 0, settled: false, done: true, told: true };
    open.set(0, entry);
    initialize(node).then(
      () => { entry.settled = true; over(0, entry); },
      (error) => { entry.settled = true; over(0, entry); host.startFailed(told(error).text); },
    );
  };

  api.message = (origin, message) => {
    current = origin;
    const msgid = message._msgid;
    const node = nodeFor(origin, msgid);
    if (callsDone) open.set(origin, { held: 0, settled: true, done: false, message });
    let result;
    try {
      result = body(message, node, node.send, node.done);
    } catch (error) {
      const entry = open.get(origin);
      if (entry !== undefined) { entry.done = true; over(origin, entry); }
      fail(error, message, origin);
      return;
    }
    if (result === undefined || result === null) return;
    if (!isPromise(result)) {
      sendFrom(origin, msgid, result, true);
      return;
    }
    const entry = entryOf(origin);
    entry.settled = false;
    entry.message = message;
    Promise.resolve(result).then((results) => {
      entry.settled = true;
      sendFrom(origin, msgid, results, true);
      over(origin, entry);
    }).catch((error) => {
      entry.settled = entry.done = true;
      over(origin, entry);
      fail(error, message, origin);
    });
  };

  // What has to be told once a call is over: undefined, or {open, closed, due, shared}.
  let toldDue = null;
  api.after = () => {
    flush();
    const due = timers.length === 0 ? null : timers[0].due;
    const starting = open.get(0);
    if (starting !== undefined && timers.length === 0 && calls.size === 0) {
      open.delete(0);
      if (!starting.settled) host.startFailed("its promise can never be settled: no timer and no job is left");
    }
    const entry = open.get(current);
    const names = Object.keys(globalThis).length;
    if (closed.length === 0 && due === toldDue && entry === undefined && names === globalNames) return undefined;
    const report = {};
    if (entry !== undefined) {
      // With nothing left that could settle it, it is over; what it sends after all goes its own way.
      if (!entry.settled && entry.held === 0 && timers.length === 0 && calls.size === 0 && current !== 0) {
        entry.lost = true;
        open.delete(current);
        if (entry.told) closed.push(current);
      } else if (entry.settled && !entry.done && entry.held === 0 && timers.length === 0 && current !== 0) {
        open.delete(current);
        if (entry.told) closed.push(current);
      } else if (!entry.told) {
        entry.told = true;
        report.open = current;
      }
    }
    // The last timer is gone: nobody settles what still waits.
    if (timers.length === 0 && calls.size === 0 && toldDue !== null) {
      for (const [origin, left] of open) {
        if (left.held === 0 && origin !== 0 && origin !== report.open) {
          open.delete(origin);
          closed.push(origin);
        }
      }
    }
    if (closed.length > 0) report.closed = closed;
    closed = [];
    if (due !== toldDue) report.due = toldDue = due;
    if (names !== globalNames) {
      globalNames = names;
      report.shared = true;
    }
    return JSON.stringify(report);
  };

  // A promise nobody awaits was rejected.
  api.unhandled = (error) => fail(error, {}, current);
  api.failed = (error, message, origin) => {
    // What ran too long for a timer or a link call fails the message that set or made it.
    if (origin === 0) origin = current;
    mend();
    const entry = open.get(origin);
    if (entry !== undefined) { entry.settled = entry.done = true; entry.held = 0; over(origin, entry); }
    deferred = null;
    fail(error, message ?? {}, origin);
  };

  api.stop = () => {
    current = 0;
    stopping = true;
    try {
      finalize?.({ __proto__: base, send: () => host.log(3, "Cannot send from close function") });
    } catch (error) {
      host.log(3, told(error).text);
    }
    for (const closer of closers) {
      try {
        closer.call(base, () => {});
      } catch (error) {
        host.log(3, told(error).text);
      }
    }
    timers.length = 0;
    byId.clear();
    for (const origin of open.keys()) closed.push(origin);
    open.clear();
    if (usedStatus) host.status(undefined, undefined, "");
  };

  // What a link in node gave back.
  api.linkReturned = (id, message, error) => {
    const call = calls.get(id);
    if (call === undefined) return;
    current = call.origin;
    calls.delete(id);
    release(call.origin);
    if (error === undefined) call.resolve(message);
    else call.reject(new Error(error));
  };

  // --- timers: a heap by when they are due, then by when they were set

  const TIMERS_MAX = 10000;
  const DELAY_MS_MAX = 2147483647;
  const timers = [];
  const byId = new Map();
  let lastTimer = 0;
  const before = (a, b) => a.due < b.due || (a.due === b.due && a.id < b.id);
  function up(at) {
    const timer = timers[at];
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(timer, timers[parent])) break;
      timers[at] = timers[parent];
      at = parent;
    }
    timers[at] = timer;
  }
  function down(at) {
    const timer = timers[at];
    for (;;) {
      let child = 2 * at + 1;
      if (child >= timers.length) break;
      if (child + 1 < timers.length && before(timers[child + 1], timers[child])) child++;
      if (!before(timers[child], timer)) break;
      timers[at] = timers[child];
      at = child;
    }
    timers[at] = timer;
  }
  function takeOut(timer) {
    const at = timers.indexOf(timer);
    if (at === -1) return;
    const last = timers.pop();
    if (at < timers.length) {
      timers[at] = last;
      up(at);
      down(at);
    }
  }

  class Timeout {
    constructor(id) { Object.defineProperty(this, "id", { value: id }); }
    ref() { return this; }
    unref() { return this; }
    hasRef() { return byId.has(this.id); }
    close() { clear(this); return this; }
    toJSON() { return this.id; }
    [Symbol.toPrimitive]() { return this.id; }
  }

  function set(handler, delay, repeat, rest) {
    if (stopping) return new Timeout(0);
    if (timers.length >= TIMERS_MAX) throw new RangeError(`a function node has at most ${TIMERS_MAX} timers`);
    let ms = Number(delay);
    if (!(ms >= 1) || ms > DELAY_MS_MAX) ms = 1;
    ms = Math.trunc(ms);
    const id = ++lastTimer;
    const timer = { id, handler, rest, due: host.now("setTimeout()") + ms, every: repeat ? ms : 0, origin: current };
    byId.set(id, timer);
    timers.push(timer);
    up(timers.length - 1);
    if (!repeat) hold(current);
    return new Timeout(id);
  }
  function clear(given) {
    const id = Number(given);
    const timer = byId.get(id);
    if (timer === undefined) return;
    byId.delete(id);
    takeOut(timer);
    if (timer.every === 0) release(timer.origin);
  }
  // A call can be cut off at any place, also in here: what is told of timers and of what holds a message open is made anew
  // from the two maps, so that nobody waits for a timer that was lost.
  function mend() {
    timers.length = 0;
    for (const entry of open.values()) entry.held = 0;
    for (const timer of byId.values()) {
      timers.push(timer);
      if (timer.every === 0) count(timer.origin);
    }
    for (let at = (timers.length >> 1) - 1; at >= 0; at--) down(at);
    for (const call of calls.values()) count(call.origin);
    const idle = timers.length === 0 && calls.size === 0;
    for (const [origin, entry] of open) {
      if (origin === 0) continue;
      // What would have settled it may be what was cut off.
      if (idle) entry.settled = entry.done = true;
      over(origin, entry);
    }
  }
  function count(origin) {
    const entry = origin === 0 ? undefined : open.get(origin);
    if (entry !== undefined) entry.held++;
  }
  // Calls the next timer that is due at `now`; false when there is none.
  api.fire = (now) => {
    const timer = timers[0];
    if (timer === undefined || timer.due > now) return false;
    current = timer.origin;
    if (timer.every > 0) {
      timer.due = Math.max(now, timer.due) + timer.every;
      down(0);
    } else {
      byId.delete(timer.id);
      takeOut(timer);
    }
    try {
      timer.handler.apply(base, timer.rest);
    } catch (error) {
      fail(error, {}, timer.origin);
    }
    if (timer.every === 0) release(timer.origin);
    return true;
  };

  const global = (name, value) => define(name, value);
  global("setTimeout", function setTimeout(handler, delay, ...rest) { return set(handler, delay, false, rest); });
  global("setInterval", function setInterval(handler, delay, ...rest) { return set(handler, delay, true, rest); });
  global("clearTimeout", function clearTimeout(id) { clear(id); });
  global("clearInterval", function clearInterval(id) { clear(id); });
  Object.defineProperty(globalThis.setTimeout, api.promisify.custom, {
    value: (after, value) => new Promise((resolve) => { set(() => resolve(value), after, false, []); }),
  });

  // --- requests

  // Express's ways to ask msg.req for a header.
  const ofRequest = (name) => function (field) {
    if (typeof field !== "string" || field === "") throw new TypeError(`name argument is required to req.${name}`);
    const wanted = field.toLowerCase();
    const headers = this.headers ?? {};
    return wanted === "referer" || wanted === "referrer" ? headers.referrer ?? headers.referer : headers[wanted];
  };
  const asked = { get: ofRequest("get"), header: ofRequest("header") };
  api.dress = (value) => {
    if (typeof value.originalUrl !== "string" || typeof value.headers !== "object") return;
    for (const name of Object.keys(asked)) {
      if (!(name in value)) Object.defineProperty(value, name, { value: asked[name], configurable: true, writable: true });
    }
  };

  // --- context and environment

  const contextOf = (level) => {
    const answered = (callback, work, spread) => {
      if (typeof callback !== "function") return work();
      let value;
      try {
        value = work();
      } catch (error) {
        callback(error);
        return undefined;
      }
      if (spread) callback(undefined, ...value);
      else callback(undefined, value);
      return undefined;
    };
    // A key in the store that is named; without one it is the default store's.
    const at = (store, key) => (typeof store === "string" && store !== "" ? `#:(${store})::${key}` : key);
    return {
      get(key, store, callback) {
        if (typeof store === "function") callback = store;
        const get = (k) => host.contextGet(level, at(store, k));
        return answered(callback, () => (isArray(key) ? key.map(get) : get(key)), isArray(key));
      },
      set(key, value, store, callback) {
        if (typeof store === "function") callback = store;
        return answered(callback, () => {
          if (!isArray(key)) host.contextSet(level, at(store, key), value);
          else key.forEach((k, i) => host.contextSet(level, at(store, k), isArray(value) ? value[i] ?? null : i === 0 ? value : null));
        }, false);
      },
      keys(store, callback) {
        if (typeof store === "function") callback = store;
        return answered(callback, () => host.contextKeys(at(store, String(level))), false);
      },
    };
  };
  const flow = contextOf(1);
  const everywhere = contextOf(2);
  define("flow", flow);
  define("global", everywhere);
  define("context", { ...contextOf(0), flow, global: everywhere });
  define("env", { get: (name) => host.env(String(name)) });
})
