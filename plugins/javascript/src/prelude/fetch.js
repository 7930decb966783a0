// fetch, Headers, Response, AbortSignal.timeout: over the capability `http`. The host waits; requests go one by one.
(function (host, api) {
  "use strict";

  class Headers {
    #map = new Map();
    constructor(init = undefined) {
      if (init === undefined || init === null) return;
      const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    append(name, value) {
      const key = String(name).toLowerCase();
      const text = String(value).trim();
      this.#map.set(key, this.#map.has(key) ? `${this.#map.get(key)}, ${text}` : text);
    }
    set(name, value) { this.#map.set(String(name).toLowerCase(), String(value).trim()); }
    get(name) { return this.#map.get(String(name).toLowerCase()) ?? null; }
    has(name) { return this.#map.has(String(name).toLowerCase()); }
    delete(name) { this.#map.delete(String(name).toLowerCase()); }
    forEach(each, self) { for (const [name, value] of this.#map) each.call(self, value, name, this); }
    entries() { return this.#map.entries(); }
    keys() { return this.#map.keys(); }
    values() { return this.#map.values(); }
    [Symbol.iterator]() { return this.#map.entries(); }
  }

  class Response {
    #bytes;
    constructor(body, { status = 200, headers = undefined, url = "" } = {}) {
      this.#bytes = body;
      this.status = status;
      this.ok = status >= 200 && status < 300;
      this.statusText = "";
      this.url = url;
      this.headers = headers instanceof Headers ? headers : new Headers(headers);
      this.bodyUsed = false;
    }
    #take() {
      if (this.bodyUsed) throw new TypeError("the body of this response was already read");
      this.bodyUsed = true;
      return this.#bytes;
    }
    async text() { return new TextDecoder().decode(this.#take()); }
    async json() { return JSON.parse(await this.text()); }
    async bytes() { return this.#take(); }
    async arrayBuffer() {
      const bytes = this.#take();
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    }
  }

  // The bytes or text of a body, and the content type it implies.
  function content(body) {
    if (body === undefined || body === null) return [undefined, undefined];
    const bytes = api.bytesOf(body);
    if (bytes !== undefined) return [bytes, undefined];
    if (body instanceof URLSearchParams) return [body.toString(), "application/x-www-form-urlencoded;charset=UTF-8"];
    if (typeof body === "object") {
      throw new TypeError("fetch(): body takes a text, bytes or URLSearchParams; for JSON: body: JSON.stringify(value)");
    }
    return [String(body), "text/plain;charset=UTF-8"];
  }

  api.define("Headers", Headers);
  api.define("Response", Response);
  api.define("AbortSignal", class AbortSignal {
    // Only time ends a request: nothing else runs while the host waits for the answer.
    static timeout(ms) {
      const signal = new AbortSignal();
      signal.timeout = Number(ms);
      return Object.freeze(signal);
    }
    get aborted() { return false; }
  });
  api.define("fetch", async function fetch(address, options = {}) {
    const url = String(address);
    const [body, type] = content(options.body);
    const method = String(options.method ?? "GET").toUpperCase();
    if (body !== undefined && (method === "GET" || method === "HEAD")) {
      throw new TypeError(`fetch(): a ${method} request has no body`);
    }
    const headers = new Headers(options.headers);
    if (type !== undefined && !headers.has("content-type")) headers.set("content-type", type);
    const timeout = options.signal?.timeout ?? options.timeout;
    const answer = host.http(method, url, [...headers].flat(), body, timeout === undefined ? undefined : Number(timeout));
    const pairs = [];
    for (let i = 0; i < answer.headers.length; i += 2) pairs.push([answer.headers[i], answer.headers[i + 1]]);
    return new Response(answer.body, { status: answer.status, headers: pairs, url });
  });
})
