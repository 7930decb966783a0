// `console`, and how values are shown in logs.
(function (host, api) {
  "use strict";

  const DEPTH_MAX = 4;
  const ITEMS_MAX = 100;
  const TEXT_MAX = 10000;

  const plain = (key) => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key));

  // A value as Node.js's console shows it, roughly.
  function show(value, depth, seen) {
    switch (typeof value) {
      case "string": return JSON.stringify(value);
      case "bigint": return `${value}n`;
      case "function": return `[Function: ${value.name || "anonymous"}]`;
      case "object": break;
      default: return Object.is(value, -0) ? "-0" : String(value);
    }
    if (value === null) return "null";
    if (value instanceof Error) return typeof value.stack === "string" ? `${value}\n${value.stack.trimEnd()}` : String(value);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (value instanceof Promise) return "Promise {…}";
    if (seen.includes(value)) return "[Circular]";
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      const bytes = api.bytesOf(value);
      const hex = host.decode(bytes.subarray(0, 50), "hex").replace(/(..)(?=.)/g, "$1 ");
      return `<${value.constructor.name} ${hex}${bytes.length > 50 ? ` … ${bytes.length - 50} more bytes` : ""}>`;
    }
    if (depth > DEPTH_MAX) return Array.isArray(value) ? "[Array]" : "[Object]";
    const inner = [...seen, value];
    const list = (items, open, close, of) => {
      const shown = items.slice(0, ITEMS_MAX).map(of);
      if (items.length > ITEMS_MAX) shown.push(`… ${items.length - ITEMS_MAX} more`);
      return shown.length === 0 ? `${open}${close}` : `${open} ${shown.join(", ")} ${close}`;
    };
    if (Array.isArray(value)) return list(value, "[", "]", (v) => show(v, depth + 1, inner));
    if (value instanceof Map) {
      return "Map " + list([...value], "{", "}", ([k, v]) => `${show(k, depth + 1, inner)} => ${show(v, depth + 1, inner)}`);
    }
    if (value instanceof Set) return "Set " + list([...value], "{", "}", (v) => show(v, depth + 1, inner));
    const name = value.constructor?.name;
    const prefix = name === undefined || name === "Object" ? "" : `${name} `;
    return prefix + list(Object.keys(value), "{", "}", (key) => `${plain(key)}: ${show(value[key], depth + 1, inner)}`);
  }

  api.inspect = (value) => show(value, 0, []);

  // The text of the arguments of a log call: texts as they are, `%s %d %i %f %j %o %O %%` filled in.
  api.format = (args) => {
    let rest = args;
    let text = "";
    if (typeof args[0] === "string" && args.length > 1) {
      rest = args.slice(1);
      text = args[0].replace(/%[sdifjoO%]/g, (mark) => {
        if (mark === "%%") return "%";
        if (rest.length === 0) return mark;
        const value = rest.shift();
        switch (mark) {
          case "%s": return typeof value === "object" ? show(value, 0, []) : String(value);
          case "%d": return String(Number(value));
          case "%i": return String(Number.parseInt(value, 10));
          case "%f": return String(Number.parseFloat(value));
          case "%j": return JSON.stringify(value);
          default: return show(value, 0, []);
        }
      });
      if (rest.length > 0) text += " ";
    }
    text += rest.map((value) => (typeof value === "string" ? value : show(value, 0, []))).join(" ");
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (${text.length - TEXT_MAX} more characters)` : text;
  };

  const DEBUG = 0, INFO = 1, WARN = 2, ERROR = 3;
  const logs = (level) => (...args) => host.log(level, api.format(args));
  const warn = logs(WARN);
  api.define("console", Object.freeze({
    log: logs(INFO), info: logs(INFO), debug: logs(DEBUG), warn, error: logs(ERROR), dir: logs(INFO),
    trace: (...args) => host.log(DEBUG, `${api.format(args)}\n${new Error().stack.trimEnd()}`),
    assert: (ok, ...args) => { if (!ok) warn("Assertion failed:", ...args); },
  }));
})
