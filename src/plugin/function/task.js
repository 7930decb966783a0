// Runs a CommonJS module's `main(config)`: what a Director's task is. `__TASK__` is put in by the engine.
const task = __TASK__;

const failed = (response) => {
  const error = new Error(`Request failed with status code ${response.status}`);
  error.response = response;
  error.code = response.status >= 500 ? "ERR_BAD_RESPONSE" : "ERR_BAD_REQUEST";
  return error;
};

// The part of axios that scripts use: requests, their JSON, errors by status.
async function axios(first, second) {
  const config = typeof first === "string" ? { ...second, url: first } : { ...first };
  const url = new URL(config.url, config.baseURL);
  for (const [name, value] of Object.entries(config.params ?? {})) {
    if (value !== undefined && value !== null) url.searchParams.append(name, String(value));
  }
  const headers = { accept: "application/json, text/plain, */*", ...config.headers };
  let body = config.data;
  if (body !== undefined && body !== null && typeof body === "object" && !(body instanceof URLSearchParams) && !ArrayBuffer.isView(body)) {
    body = JSON.stringify(body);
    if (!Object.keys(headers).some((name) => name.toLowerCase() === "content-type")) headers["content-type"] = "application/json";
  }
  if (config.auth) headers.authorization = `Basic ${Buffer.from(`${config.auth.username}:${config.auth.password}`).toString("base64")}`;
  const answer = await fetch(url.href, { method: config.method ?? "get", headers, body, timeout: config.timeout || undefined });
  const text = await answer.text();
  let data = text;
  if (config.responseType !== "text") {
    try { data = JSON.parse(text); } catch { data = text; }
  }
  const response = { status: answer.status, statusText: "", data, headers: Object.fromEntries(answer.headers), config };
  const fits = config.validateStatus ?? ((status) => status >= 200 && status < 300);
  if (fits && !fits(response.status)) throw failed(response);
  return response;
}
axios.request = axios;
for (const method of ["get", "delete", "head", "options"]) axios[method] = (url, config) => axios({ ...config, url, method });
for (const method of ["post", "put", "patch"]) axios[method] = (url, data, config) => axios({ ...config, url, data, method });
axios.create = (base) => Object.assign((first, second) => axios(typeof first === "string" ? { ...base, ...second, url: first } : { ...base, ...first }),
  Object.fromEntries(["get", "delete", "head", "options"].map((method) => [method, (url, config) => axios({ ...base, ...config, url, method })])),
  Object.fromEntries(["post", "put", "patch"].map((method) => [method, (url, data, config) => axios({ ...base, ...config, url, data, method })])));
axios.default = axios;

const nodeFetch = (...given) => fetch(...given);
nodeFetch.default = nodeFetch;
const modules = { axios, "node-fetch": nodeFetch };
const require = (name) => {
  if (Object.hasOwn(modules, name)) return modules[name];
  throw new Error(`the module "${name}" is not there: a task's script may require ${Object.keys(modules).join(", ")}`);
};

export const node = {
  type: "task",
  capabilities: ["http", "clock", "random"],
  async process(msg, node) {
    const module = { exports: {} };
    const load = (0, eval)(`(function (module, exports, require) {\n${task.source}\n})`);
    load.call(module.exports, module, module.exports, require);
    const main = module.exports.main ?? module.exports.default?.main ?? module.exports;
    if (typeof main !== "function") throw new Error("the script exports no function main(config)");
    const value = await main.call(module.exports, msg.config);
    node.send({ value: value === undefined ? null : value });
  },
};
