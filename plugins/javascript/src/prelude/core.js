// Time, chance, timers, clones: what JavaScript itself or every host of it has, on the capabilities of the node.
(function (host, api) {
  "use strict";

  // Defines a global as the standard ones are: not enumerable.
  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  api.define = define;

  // Quicker than QuickJS's own, and with an end: those two know none of their stack.
  const { parse, stringify } = JSON;
  Object.defineProperties(JSON, {
    parse: {
      value: { parse(text, reviver) { return (reviver === undefined ? host.jsonRead(text) : undefined) ?? parse(text, reviver); } }.parse,
      writable: true,
      configurable: true,
    },
    stringify: {
      value: {
        stringify(value, replacer = undefined, space = undefined) {
          if (replacer !== undefined && replacer !== null) return stringify(value, replacer, space);
          return space === undefined || space === null ? host.jsonWrite(value) : stringify(value, null, space);
        },
      }.stringify,
      writable: true,
      configurable: true,
    },
  });

  const Native = Date;
  function Time(...parts) {
    if (!new.target) return new Native(host.now("Date()")).toString();
    return Reflect.construct(Native, parts.length === 0 ? [host.now("new Date()")] : parts, new.target);
  }
  Object.defineProperties(Time, {
    name: { value: "Date", configurable: true },
    length: { value: 7, configurable: true },
    prototype: { value: Native.prototype, writable: false },
    now: { value: () => host.now("Date.now()"), writable: true, configurable: true },
    parse: { value: Native.parse, writable: true, configurable: true },
    UTC: { value: Native.UTC, writable: true, configurable: true },
  });
  Object.defineProperty(Native.prototype, "constructor", { value: Time, writable: true, configurable: true });
  define("Date", Time);
  define("performance", Object.freeze({ now: () => host.now("performance.now()"), timeOrigin: 0 }));

  Object.defineProperty(Math, "random", { value: () => host.random(), writable: true, configurable: true });
  const RANDOM_BYTES_MAX = 65536;
  define("crypto", Object.freeze({
    getRandomValues(array) {
      if (!ArrayBuffer.isView(array)) throw new TypeError("crypto.getRandomValues() takes a typed array");
      if (array.byteLength > RANDOM_BYTES_MAX) {
        throw new RangeError(`crypto.getRandomValues() gives at most ${RANDOM_BYTES_MAX} bytes at a time`);
      }
      const bytes = host.randomBytes("crypto.getRandomValues()", array.byteLength);
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes);
      return array;
    },
    randomUUID() {
      const bytes = host.randomBytes("crypto.randomUUID()", 16);
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const hex = host.decode(bytes, "hex");
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    },
  }));

  const timer = (name, repeat) => ({
    [name](handler, delay, ...rest) {
      if (typeof handler !== "function") throw new TypeError(`${name}() takes a function`);
      return host.setTimer(`${name}()`, repeat, handler, Number(delay) || 0, ...rest);
    },
  })[name];
  define("setTimeout", timer("setTimeout", false));
  define("setInterval", timer("setInterval", true));
  define("setImmediate", function setImmediate(handler, ...rest) {
    if (typeof handler !== "function") throw new TypeError("setImmediate() takes a function");
    return host.setTimer("setImmediate()", false, handler, 0, ...rest);
  });
  for (const name of ["clearTimeout", "clearInterval", "clearImmediate"]) {
    define(name, { [name](id) { host.clearTimer(Number(id)); } }[name]);
  }
  if (typeof queueMicrotask !== "function") {
    define("queueMicrotask", function queueMicrotask(handler) { Promise.resolve().then(handler); });
  }

  // Copies `value`; `special(value)` may give a copy of its own, or refuse by throwing.
  function clone(value, seen, special) {
    if (typeof value === "function") return special(value);
    if (typeof value !== "object" || value === null) {
      return typeof value === "symbol" ? special(value) : value;
    }
    if (seen.has(value)) return seen.get(value);
    const keep = (copy) => { seen.set(value, copy); return copy; };
    if (Array.isArray(value)) {
      const copy = keep(new Array(value.length));
      for (const key of Object.keys(value)) copy[key] = clone(value[key], seen, special);
      return copy;
    }
    const buffer = globalThis.Buffer;
    if (buffer !== undefined && value instanceof buffer) return keep(buffer.from(value));
    if (ArrayBuffer.isView(value)) {
      const bytes = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
      const Kind = value.constructor;
      return keep(new Kind(bytes));
    }
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (value instanceof Native) return keep(new Native(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof Map) {
      const copy = keep(new Map());
      for (const [k, v] of value) copy.set(clone(k, seen, special), clone(v, seen, special));
      return copy;
    }
    if (value instanceof Set) {
      const copy = keep(new Set());
      for (const v of value) copy.add(clone(v, seen, special));
      return copy;
    }
    if (value instanceof Error) {
      const copy = keep(new Error(value.message));
      for (const key of ["name", "stack", "cause"]) {
        if (Object.hasOwn(value, key) || key === "name") {
          Object.defineProperty(copy, key, { value: value[key], writable: true, configurable: true });
        }
      }
      return copy;
    }
    if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) return special(value);
    const copy = keep({});
    for (const key of Object.keys(value)) {
      const inner = clone(value[key], seen, special);
      if (key === "__proto__") Object.defineProperty(copy, key, { value: inner, writable: true, enumerable: true, configurable: true });
      else copy[key] = inner;
    }
    return copy;
  }
  define("structuredClone", function structuredClone(value) {
    return clone(value, new Map(), (part) => {
      throw new TypeError(`structuredClone() cannot copy a ${typeof part === "object" ? part.constructor.name : typeof part}`);
    });
  });
  // As Node-RED clones messages: what cannot be copied is shared.
  api.cloneLoosely = (value) => clone(value, new Map(), (part) => part);

  define("atob", function atob(text) {
    const plain = String(text).replace(/[\t\n\f\r ]/g, "");
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(plain) || plain.replace(/=+$/, "").length % 4 === 1) {
      throw new TypeError("atob(): the text is not base64");
    }
    return host.decode(host.encode(plain, "base64"), "latin1");
  });
  define("btoa", function btoa(text) {
    const plain = String(text);
    if (/[^\x00-\xff]/.test(plain)) throw new TypeError("btoa(): a character is above U+00FF; use Buffer.from(text).toString('base64')");
    return host.decode(host.encode(plain, "latin1"), "base64");
  });

  define("TextEncoder", class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return host.encode(String(text), "utf8"); }
    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const character of String(text)) {
        const bytes = host.encode(character, "utf8");
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += character.length;
      }
      return { read, written };
    }
  });
  const LABELS = {
    "utf-8": "utf8", utf8: "utf8", "unicode-1-1-utf-8": "utf8",
    "utf-16le": "utf16le", "utf-16": "utf16le",
    latin1: "latin1", "iso-8859-1": "latin1",
  };
  define("TextDecoder", class TextDecoder {
    #encoding; #fatal; #keepMark;
    constructor(label = "utf-8", options = {}) {
      const encoding = LABELS[String(label).trim().toLowerCase()];
      if (encoding === undefined) throw new RangeError(`TextDecoder knows utf-8, utf-16le and iso-8859-1, not ${label}`);
      this.#encoding = encoding;
      this.#fatal = Boolean(options.fatal);
      this.#keepMark = Boolean(options.ignoreBOM);
    }
    get encoding() { return { utf8: "utf-8", utf16le: "utf-16le", latin1: "iso-8859-1" }[this.#encoding]; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#keepMark; }
    decode(input) {
      if (input === undefined) return "";
      const bytes = api.bytesOf(input);
      if (bytes === undefined) throw new TypeError("TextDecoder.decode() takes an ArrayBuffer or a typed array");
      const fatal = this.#fatal && this.#encoding === "utf8";
      const text = host.decode(bytes, fatal ? "utf8-fatal" : this.#encoding);
      return !this.#keepMark && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    }
  });
  // The bytes of an ArrayBuffer or any view of one; undefined for anything else.
  api.bytesOf = (input) => {
    if (input instanceof Uint8Array) return input;
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    if (input instanceof ArrayBuffer) return new Uint8Array(input);
    return undefined;
  };
})
