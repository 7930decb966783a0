// `RED.util`, `util` and `promisify` as function nodes find them.
(function (host, api) {
  "use strict";

  const { define } = api;
  const isArray = Array.isArray;
  const isObject = (value) => typeof value === "object" && value !== null;

  api.mark = Symbol("message");
  api.handle = Symbol("handle");

  api.cloneMessage = (message) => {
    const copy = api.cloneLoosely(message);
    if (isObject(message) && Object.hasOwn(message, api.mark)) copy[api.mark] = message[api.mark];
    // The way back to a caller is shared, not copied, as in Node-RED.
    if (isObject(message)) for (const key of ["req", "res"]) if (Object.hasOwn(message, key)) copy[key] = message[key];
    return copy;
  };
  api.generateId = () => host.decode(host.randomBytes("RED.util.generateId()", 8), "hex");

  const invalid = (message, code = "INVALID_EXPR") => Object.assign(new Error(message), { code });

  // `a.b[0]["c d"][msg.topic]` as ["a", "b", 0, "c d", …]; what stands for a property of `msg` is put in.
  function normalise(expression, message, asText) {
    const text = String(expression);
    if (text.length === 0) throw invalid("Invalid property expression: zero-length");
    const keys = [];
    const plain = /[^.[\]"'\s]/;
    let at = 0;
    const fault = (place) => invalid(`Invalid property expression: unexpected ${text[place] === undefined ? "end" : text[place]} at position ${place}`);
    while (at < text.length) {
      if (text[at] === "[") {
        const quote = text[at + 1];
        if (quote === "\"" || quote === "'") {
          const end = text.indexOf(quote, at + 2);
          if (end === -1 || text[end + 1] !== "]") throw fault(end === -1 ? text.length : end + 1);
          keys.push(text.slice(at + 2, end));
          at = end + 2;
        } else {
          let depth = 1;
          let end = at + 1;
          while (end < text.length && depth > 0) {
            if (text[end] === "[") depth++;
            else if (text[end] === "]") depth--;
            end++;
          }
          const inner = text.slice(at + 1, end - 1);
          if (depth > 0 || inner === "") throw fault(at + 1);
          if (/^\d+$/.test(inner)) keys.push(Number(inner));
          else if (/^msg[.[]/.test(inner)) {
            if (message) {
              const value = getMessageProperty(message, inner);
              if (value === undefined) throw invalid(`Invalid expression: undefined reference at position ${at + 1} : ${inner}`);
              keys.push(value);
            } else {
              keys.push(normalise(inner, undefined, asText));
            }
          } else throw fault(at + 1);
          at = end;
        }
        if (at < text.length && text[at] !== "." && text[at] !== "[") throw fault(at);
      } else {
        if (text[at] === ".") {
          if (at === 0 || at === text.length - 1) throw fault(at);
          at++;
          if (text[at] === "[" || text[at] === ".") throw fault(at);
        }
        let end = at;
        while (end < text.length && plain.test(text[end])) end++;
        if (end === at || (end < text.length && text[end] !== "." && text[end] !== "[")) throw fault(end);
        keys.push(text.slice(at, end));
        at = end;
      }
    }
    if (!asText) return keys;
    return keys.map((key, i) => (typeof key === "number" ? `[${key}]` : isArray(key) ? `[${key.join(".")}]` : i === 0 ? key : `["${key}"]`)).join("");
  }

  function getObjectProperty(object, expression, message) {
    return normalise(expression, message ?? object).reduce((value, key) => (typeof value === "string" && typeof key === "number" ? value[key] : value[key]), object);
  }
  function getMessageProperty(message, expression) {
    const text = String(expression);
    return getObjectProperty(message, text.startsWith("msg.") ? text.slice(4) : text, message);
  }
  const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);
  function setObjectProperty(object, expression, value, create) {
    if (create === undefined) create = value !== undefined;
    const keys = normalise(expression, object);
    const last = keys.pop();
    let at = object;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (!Object.hasOwn(at, key) || !isObject(at[key])) {
        if (Object.hasOwn(at, key) && at[key] !== null && at[key] !== undefined) return false;
        if (!create || FORBIDDEN.has(key)) return false;
        at[key] = typeof (i + 1 < keys.length ? keys[i + 1] : last) === "number" ? [] : {};
      }
      at = at[key];
    }
    if (FORBIDDEN.has(last)) return false;
    if (value === undefined) {
      if (isArray(at) && typeof last === "number") at.splice(last, 1);
      else delete at[last];
    } else {
      at[last] = value;
    }
    return true;
  }
  function setMessageProperty(message, expression, value, create) {
    const text = String(expression);
    return setObjectProperty(message, text.startsWith("msg.") ? text.slice(4) : text, value, create);
  }

  function same(a, b, strict) {
    if (strict ? Object.is(a, b) : a === b) return true;
    if (!isObject(a) || !isObject(b) || isArray(a) !== isArray(b)) return false;
    if (Buffer.isBuffer(a) || Buffer.isBuffer(b)) return Buffer.isBuffer(a) && Buffer.isBuffer(b) && a.equals(b);
    if (a instanceof Date || b instanceof Date) return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
    if (a instanceof Map && b instanceof Map) return same([...a], [...b], strict);
    if (a instanceof Set && b instanceof Set) return same([...a], [...b], strict);
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((k) => Object.hasOwn(b, k) && same(a[k], b[k], strict));
  }

  function parseContextStore(key) {
    const found = /^#:\((\S+?)\)::(.*)$/s.exec(key);
    return found === null ? { key } : { store: found[1], key: found[2] };
  }

  function evaluateNodeProperty(value, type, node, message, callback) {
    const work = () => {
      switch (type) {
        case "str": return String(value);
        case "num": return Number(value);
        case "json": return JSON.parse(value);
        case "re": return new RegExp(value);
        case "date": return value === "object" ? new Date() : value === "iso" ? new Date().toISOString() : Date.now();
        case "bin": {
          const data = JSON.parse(value);
          if (isArray(data) || typeof data === "string") return Buffer.from(data);
          throw invalid("Invalid buffer data", "INVALID_BUFFER_DATA");
        }
        case "msg": return message === undefined || message === null ? undefined : getMessageProperty(message, value);
        case "flow": return globalThis.flow.get(parseContextStore(value).key);
        case "global": return globalThis.global.get(parseContextStore(value).key);
        case "bool": return /^true$/i.test(value);
        case "jsonata": return host.jsonata(String(value), message ?? {});
        case "env": return host.env(String(value));
        default: return value;
      }
    };
    if (typeof callback !== "function") return work();
    let result;
    try {
      result = work();
    } catch (error) {
      callback(error);
      return undefined;
    }
    callback(null, result);
    return undefined;
  }

  function encodeObject(given, options) {
    const max = options?.maxLength ?? 1000;
    const value = given.msg;
    const cut = (text) => (text.length > max ? `${text.slice(0, max)}...` : text);
    if (value instanceof Error) {
      given.format = "error";
      given.msg = JSON.stringify({ __enc__: true, type: "error", data: { name: value.name, message: value.message, cause: String(value.cause ?? "") } });
    } else if (Buffer.isBuffer(value)) {
      given.format = `buffer[${value.length}]`;
      given.msg = cut(value.toString("hex"));
    } else if (isObject(value)) {
      given.format = isArray(value) ? `array[${value.length}]` : value.constructor?.name ?? "Object";
      given.msg = JSON.stringify(value, (_, part) => (typeof part === "string" ? cut(part) : part));
    } else if (typeof value === "string") {
      given.format = `string[${value.length}]`;
      given.msg = cut(value);
    } else {
      given.format = value === null || value === undefined ? "undefined" : typeof value;
      if (value === null || value === undefined) given.format = value === null ? "null" : "undefined";
      given.msg = value === undefined ? "(undefined)" : String(value);
    }
    return given;
  }

  function normaliseNodeTypeName(name) {
    const text = name.replace(/[^a-zA-Z0-9]/g, " ").trim().replace(/ +/g, " ").replace(/ ./g, (s) => s[1].toUpperCase());
    return text.charAt(0).toLowerCase() + text.slice(1);
  }

  const bytesOf = (value) => Buffer.from(isObject(value) ? JSON.stringify(value) : String(value));
  define("RED", {
    util: {
      encodeObject,
      ensureString: (value) => (Buffer.isBuffer(value) ? value.toString() : isObject(value) ? JSON.stringify(value) : String(value)),
      ensureBuffer: (value) => (Buffer.isBuffer(value) ? value : bytesOf(value)),
      cloneMessage: api.cloneMessage,
      compareObjects: (a, b) => same(a, b, false),
      generateId: api.generateId,
      getMessageProperty,
      setMessageProperty,
      getObjectProperty: (object, expression) => getObjectProperty(object, expression),
      setObjectProperty: (object, expression, value, create) => setObjectProperty(object, expression, value, create),
      evaluateNodeProperty,
      normalisePropertyExpression: normalise,
      normaliseNodeTypeName,
      prepareJSONataExpression: (value) => ({ expression: String(value) }),
      evaluateJSONataExpression(expression, message, callback) {
        const text = typeof expression === "string" ? expression : expression.expression;
        if (typeof callback !== "function") return host.jsonata(text, message ?? {});
        let value;
        try {
          value = host.jsonata(text, message ?? {});
        } catch (error) {
          callback(error);
          return undefined;
        }
        callback(null, value);
        return undefined;
      },
      parseContextStore,
      getSetting: () => undefined,
    },
  });

  // --- util

  const custom = Symbol("nodejs.util.promisify.custom");
  function promisify(original) {
    if (typeof original !== "function") throw new TypeError("The \"original\" argument must be of type function");
    if (original[custom]) return original[custom];
    return function promised(...args) {
      return new Promise((resolve, reject) => {
        original.call(this, ...args, (error, value) => (error ? reject(error) : resolve(value)));
      });
    };
  }
  promisify.custom = custom;
  api.promisify = promisify;
  define("promisify", promisify);

  const is = (kind) => (value) => value instanceof kind;
  define("util", {
    format: (...args) => api.format(args),
    inspect: (value) => api.inspect(value),
    promisify,
    callbackify: (original) => (...args) => {
      const callback = args.pop();
      original(...args).then((value) => callback(null, value), (error) => callback(error));
    },
    inherits(constructor, parent) {
      Object.defineProperty(constructor, "super_", { value: parent, writable: true, configurable: true });
      Object.setPrototypeOf(constructor.prototype, parent.prototype);
    },
    deprecate: (fn) => fn,
    debuglog: () => () => {},
    isDeepStrictEqual: (a, b) => same(a, b, true),
    isArray,
    stripVTControlCharacters: (text) => String(text).replace(/\u001b\[[0-9;]*[A-Za-z]/g, ""),
    toUSVString: (text) => String(text).toWellFormed(),
    types: {
      isDate: is(Date), isRegExp: is(RegExp), isPromise: is(Promise), isMap: is(Map), isSet: is(Set),
      isWeakMap: is(WeakMap), isWeakSet: is(WeakSet), isNativeError: is(Error), isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView),
      isUint8Array: is(Uint8Array), isArrayBuffer: is(ArrayBuffer), isDataView: is(DataView),
      isArrayBufferView: (value) => ArrayBuffer.isView(value), isBoxedPrimitive: (value) => isObject(value) && [Number, String, Boolean, Symbol].some((kind) => value instanceof kind),
    },
  });
})
