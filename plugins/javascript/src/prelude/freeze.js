// Makes what all messages of an instance share unchangeable, so that nothing of one reaches the next through it.
(function (host, api) {
  "use strict";

  // Names that programs set on objects of their own although a prototype has them: on a frozen prototype that would
  // fail in strict mode, so these become accessors that define the object's own property instead.
  const OFTEN_SET = [
    [Object.prototype, ["constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty"]],
    [Function.prototype, ["constructor", "toString", "bind", "call", "apply"]],
    [Array.prototype, ["constructor", "toString", "push", "concat", "length"]],
    [Error.prototype, ["constructor", "name", "message", "toString"]],
    [Promise.prototype, ["constructor", "then", "catch", "finally"]],
    [Map.prototype, ["constructor", "get", "set", "has"]],
    [Set.prototype, ["constructor", "add", "has"]],
  ];
  for (const kind of [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
    OFTEN_SET.push([kind.prototype, ["constructor", "name", "message"]]);
  }
  for (const [prototype, names] of OFTEN_SET) {
    for (const name of names) {
      const found = Object.getOwnPropertyDescriptor(prototype, name);
      if (found === undefined || !("value" in found) || !found.configurable) continue;
      const { value } = found;
      Object.defineProperty(prototype, name, {
        configurable: true,
        enumerable: false,
        get() { return value; },
        set(given) {
          if (this === prototype) throw new TypeError(`${name} is shared by all messages and cannot be changed`);
          Object.defineProperty(this, name, { value: given, writable: true, enumerable: true, configurable: true });
        },
      });
    }
  }

  const seen = new Set();
  const waiting = [globalThis, function* () {}, async function () {}, async function* () {}, [][Symbol.iterator](),
    new Map().entries(), new Set().values(), ""[Symbol.iterator](), /a/[Symbol.matchAll]("")];
  api.freeze = () => {
    while (waiting.length > 0) {
      const value = waiting.pop();
      if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) continue;
      seen.add(value);
      for (const key of Reflect.ownKeys(value)) {
        const found = Object.getOwnPropertyDescriptor(value, key);
        if ("value" in found) waiting.push(found.value);
        else waiting.push(found.get, found.set);
      }
      waiting.push(Object.getPrototypeOf(value));
      if (value !== globalThis) Object.freeze(value);
    }
    seen.clear();
  };
  // The globals themselves: once the source is loaded, which may have set some.
  api.seal = () => { Object.freeze(globalThis); };
})
