// Buffer: the parts of Node.js's that flows and function nodes use.
(function (host, api) {
  "use strict";

  const ENCODINGS = {
    utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url",
    latin1: "latin1", binary: "latin1", ascii: "ascii",
    ucs2: "utf16le", "ucs-2": "utf16le", utf16le: "utf16le", "utf-16le": "utf16le",
  };
  const encoding = (name) => {
    if (name === undefined || name === null) return "utf8";
    const known = ENCODINGS[String(name).toLowerCase()];
    if (known === undefined) throw new TypeError(`Unknown encoding: ${name}`);
    return known;
  };
  const ofText = (text, name) => {
    const known = encoding(name);
    return host.encode(text, known === "base64url" ? "base64" : known === "ascii" ? "latin1" : known);
  };
  const view = (bytes) => new Buffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);

  class Buffer extends Uint8Array {
    // Typed arrays derived from a Buffer (by slice, map, filter) are Buffers, as in Node.js.
    static from(value, second, third) {
      if (typeof value === "string") return view(ofText(value, second));
      if (value instanceof ArrayBuffer) return new Buffer(value, second, third);
      if (ArrayBuffer.isView(value)) {
        const copy = new Buffer(value.length ?? value.byteLength);
        copy.set(value instanceof DataView ? api.bytesOf(value) : value);
        return copy;
      }
      if (Array.isArray(value)) return view(new Uint8Array(value));
      if (typeof value === "object" && value !== null) {
        if (value.type === "Buffer" && Array.isArray(value.data)) return view(new Uint8Array(value.data));
        const inner = value.valueOf();
        if (inner !== value && inner !== null && inner !== undefined) return Buffer.from(inner, second, third);
        if (typeof value.length === "number") return view(Uint8Array.from(value));
      }
      throw new TypeError(`Buffer.from() takes a text, an array, a Buffer or an ArrayBuffer, not ${value === null ? "null" : typeof value}`);
    }
    static alloc(size, fill, name) {
      const made = new Buffer(size);
      return fill === undefined ? made : made.fill(fill, 0, made.length, name);
    }
    static allocUnsafe(size) { return new Buffer(size); }
    static isBuffer(value) { return value instanceof Buffer; }
    static isEncoding(name) { return ENCODINGS[String(name).toLowerCase()] !== undefined; }
    static byteLength(value, name) {
      return typeof value === "string" ? ofText(value, name).length : api.bytesOf(value).length;
    }
    static concat(list, length) {
      const total = length ?? list.reduce((sum, part) => sum + part.length, 0);
      const made = new Buffer(total);
      let at = 0;
      for (const part of list) {
        const room = total - at;
        if (room <= 0) break;
        made.set(part.length > room ? part.subarray(0, room) : part, at);
        at += part.length;
      }
      return made;
    }
    static compare(a, b) {
      const shorter = Math.min(a.length, b.length);
      for (let i = 0; i < shorter; i++) {
        if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
      }
      return Math.sign(a.length - b.length);
    }

    toString(name, start = 0, end = this.length) {
      return host.decode(start === 0 && end >= this.length ? this : this.subarray(start, end), encoding(name));
    }
    toLocaleString(name, start, end) { return this.toString(name, start, end); }
    toJSON() { return { type: "Buffer", data: Array.from(this) }; }
    equals(other) { return Buffer.compare(this, other) === 0; }
    compare(other) { return Buffer.compare(this, other); }
    // A window on the same bytes, as in Node.js (unlike Uint8Array.prototype.slice).
    slice(start, end) { return this.subarray(start, end); }
    copy(target, at = 0, start = 0, end = this.length) {
      const part = this.subarray(start, Math.min(end, start + target.length - at));
      target.set(part, at);
      return part.length;
    }
    write(text, at, length, name) {
      if (typeof at === "string") return this.write(text, 0, this.length, at);
      if (typeof length === "string") return this.write(text, at, undefined, length);
      const start = at ?? 0;
      const bytes = ofText(text, name).subarray(0, Math.min(length ?? Infinity, this.length - start));
      this.set(bytes, start);
      return bytes.length;
    }
    fill(value, start, end, name) {
      if (typeof start === "string") return this.fill(value, 0, this.length, start);
      if (typeof value === "number") return super.fill(value & 255, start, end);
      const bytes = typeof value === "string" ? ofText(value, name) : value;
      if (bytes.length === 0) return super.fill(0, start, end);
      const to = end ?? this.length;
      for (let i = start ?? 0, j = 0; i < to; i++, j++) this[i] = bytes[j % bytes.length];
      return this;
    }
    indexOf(value, from = 0, name = undefined) {
      if (typeof value === "number") return super.indexOf(value & 255, from);
      const bytes = typeof value === "string" ? ofText(value, typeof from === "string" ? from : name) : value;
      const first = typeof from === "number" ? (from < 0 ? Math.max(0, this.length + from) : from) : 0;
      for (let i = first; i + bytes.length <= this.length; i++) {
        let j = 0;
        while (j < bytes.length && this[i + j] === bytes[j]) j++;
        if (j === bytes.length) return i;
      }
      return -1;
    }
    includes(value, from, name) { return this.indexOf(value, from, name) !== -1; }
    #swap(size) {
      if (this.length % size !== 0) throw new RangeError(`Buffer size must be a multiple of ${size * 8}-bits`);
      for (let i = 0; i < this.length; i += size) this.subarray(i, i + size).reverse();
      return this;
    }
    swap16() { return this.#swap(2); }
    swap32() { return this.#swap(4); }
    swap64() { return this.#swap(8); }
    #integer(at, size, little) {
      this.#check(at, size);
      let value = 0;
      for (let i = 0; i < size; i++) value = value * 256 + this[little ? at + size - 1 - i : at + i];
      return value;
    }
    #check(at, size) {
      if (!Number.isInteger(at) || at < 0 || at + size > this.length) {
        throw new RangeError(`offset ${at} of ${size} bytes is outside of a Buffer of ${this.length} bytes`);
      }
    }
    readUIntBE(at, size) { return this.#integer(at, size, false); }
    readUIntLE(at, size) { return this.#integer(at, size, true); }
    readIntBE(at, size) { return signed(this.#integer(at, size, false), size); }
    readIntLE(at, size) { return signed(this.#integer(at, size, true), size); }
    writeUIntBE(value, at, size) { return this.#put(value, at, size, false); }
    writeUIntLE(value, at, size) { return this.#put(value, at, size, true); }
    writeIntBE(value, at, size) { return this.#put(value < 0 ? value + 2 ** (8 * size) : value, at, size, false); }
    writeIntLE(value, at, size) { return this.#put(value < 0 ? value + 2 ** (8 * size) : value, at, size, true); }
    #put(value, at, size, little) {
      this.#check(at, size);
      if (!(value >= 0 && value < 2 ** (8 * size))) throw new RangeError(`${value} does not fit into ${size} bytes`);
      let rest = Math.trunc(value);
      for (let i = 0; i < size; i++) {
        this[little ? at + i : at + size - 1 - i] = rest % 256;
        rest = Math.floor(rest / 256);
      }
      return at + size;
    }
  }

  const signed = (value, size) => (value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value);
  const methods = Buffer.prototype;
  const add = (name, value) => Object.defineProperty(methods, name, { value, writable: true, configurable: true });
  // readUInt8, writeInt32LE, readDoubleBE, …: all one DataView method each.
  for (const [name, method, size] of [
    ["UInt8", "Uint8", 1], ["Int8", "Int8", 1], ["UInt16", "Uint16", 2], ["Int16", "Int16", 2],
    ["UInt32", "Uint32", 4], ["Int32", "Int32", 4], ["Float", "Float32", 4], ["Double", "Float64", 8],
    ["BigInt64", "BigInt64", 8], ["BigUInt64", "BigUint64", 8],
  ]) {
    for (const end of size === 1 ? [""] : ["LE", "BE"]) {
      const little = end === "LE";
      const get = DataView.prototype[`get${method}`];
      const set = DataView.prototype[`set${method}`];
      const data = (bytes, at) => {
        if (!Number.isInteger(at) || at < 0 || at + size > bytes.length) {
          throw new RangeError(`offset ${at} of ${size} bytes is outside of a Buffer of ${bytes.length} bytes`);
        }
        return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      };
      const read = function (at = 0) { return get.call(data(this, at), at, little); };
      const write = function (value, at = 0) { set.call(data(this, at), at, value, little); return at + size; };
      add(`read${name}${end}`, read);
      add(`write${name}${end}`, write);
      if (name.includes("UInt")) {
        add(`read${name.replace("UInt", "Uint")}${end}`, read);
        add(`write${name.replace("UInt", "Uint")}${end}`, write);
      }
    }
  }

  api.define("Buffer", Buffer);
  api.toBuffer = view;
  // Makes Buffers of `{"type":"Buffer","data":[…]}` at any depth, as the engine writes them into JSON.
  api.revive = function revive(value) {
    if (typeof value !== "object" || value === null) return value;
    if (value.type === "Buffer" && Array.isArray(value.data) && Object.keys(value).length === 2) return Buffer.from(value);
    for (const key of Object.keys(value)) {
      const inner = value[key];
      if (typeof inner === "object" && inner !== null) {
        const revived = revive(inner);
        if (revived !== inner) value[key] = revived;
      }
    }
    return value;
  };
})
