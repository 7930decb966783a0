// URL and URLSearchParams over the engine's own reading of addresses.
(function (host, api) {
  "use strict";

  class URLSearchParams {
    #list = [];
    #changed = () => {};
    constructor(init = "") {
      if (typeof init === "object" && init !== null) {
        const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
        for (const [name, value] of pairs) this.#list.push([String(name), String(value)]);
      } else {
        this.#read(String(init));
      }
    }
    #read(text) {
      const flat = host.formParse(text.startsWith("?") ? text.slice(1) : text);
      this.#list = [];
      for (let i = 0; i < flat.length; i += 2) this.#list.push([flat[i], flat[i + 1]]);
    }
    // The parameters of `url`, which follow it and which it follows.
    static of(search, changed) {
      const made = new URLSearchParams(search);
      made.#changed = changed;
      return [made, (text) => made.#read(text)];
    }
    get size() { return this.#list.length; }
    append(name, value) { this.#list.push([String(name), String(value)]); this.#changed(this.toString()); }
    delete(name, value) {
      this.#list = this.#list.filter(([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)));
      this.#changed(this.toString());
    }
    get(name) { return this.#list.find(([n]) => n === String(name))?.[1] ?? null; }
    getAll(name) { return this.#list.filter(([n]) => n === String(name)).map(([, v]) => v); }
    has(name, value) {
      return this.#list.some(([n, v]) => n === String(name) && (value === undefined || v === String(value)));
    }
    set(name, value) {
      const at = this.#list.findIndex(([n]) => n === String(name));
      if (at === -1) {
        this.#list.push([String(name), String(value)]);
      } else {
        this.#list[at][1] = String(value);
        this.#list = this.#list.filter(([n], i) => i <= at || n !== String(name));
      }
      this.#changed(this.toString());
    }
    sort() {
      this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      this.#changed(this.toString());
    }
    forEach(each, self) { for (const [name, value] of this.#list) each.call(self, value, name, this); }
    *entries() { for (const [name, value] of this.#list) yield [name, value]; }
    *keys() { for (const [name] of this.#list) yield name; }
    *values() { for (const [, value] of this.#list) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return host.formWrite(this.#list.flat()); }
  }
  const paramsOf = URLSearchParams.of;
  delete URLSearchParams.of;

  const PARTS = ["href", "protocol", "username", "password", "hostname", "port", "pathname", "search", "hash", "origin"];
  class URL {
    #parts; #params; #refresh;
    constructor(address, base) {
      const parts = host.urlParse(String(address), base === undefined ? undefined : String(base));
      if (!parts) throw new TypeError(`Invalid URL: ${address}`);
      this.#parts = parts;
      [this.#params, this.#refresh] = paramsOf(this.search, (search) => { this.#set("search", search); });
    }
    static canParse(address, base) {
      return Boolean(host.urlParse(String(address), base === undefined ? undefined : String(base)));
    }
    static parse(address, base) { return URL.canParse(address, base) ? new URL(address, base) : null; }
    #set(part, value) { this.#parts = host.urlSet(this.#parts[0], part, String(value)) ?? this.#parts; }
    static #reads(url, index) { return url.#parts[index]; }
    static #writes(url, part, value) {
      if (part === "href") {
        url.#parts = new URL(value).#parts;
      } else {
        url.#set(part, value);
      }
      if (part === "search" || part === "href") url.#refresh(url.search);
    }
    static {
      for (const [index, part] of PARTS.entries()) {
        Object.defineProperty(URL.prototype, part, {
          configurable: true,
          enumerable: true,
          get() { return URL.#reads(this, index); },
          set: part === "origin" ? undefined : function (value) { URL.#writes(this, part, value); },
        });
      }
    }
    get host() { return this.port === "" ? this.hostname : `${this.hostname}:${this.port}`; }
    set host(value) { this.#set("host", value); }
    get searchParams() { return this.#params; }
    toString() { return this.#parts[0]; }
    toJSON() { return this.#parts[0]; }
  }

  api.define("URLSearchParams", URLSearchParams);
  api.define("URL", URL);
})
