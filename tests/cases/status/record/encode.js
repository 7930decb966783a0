// Turns a JavaScript value into JSON that says what plain JSON cannot: {"$t": kind, …}.
const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

// `known`: JSON text of what went in (an id or time from there is not volatile). `since`: when the case began, ms.
function encode(value, { known = "", since = Infinity, texts = [] } = {}) {
    const open = [];
    const soon = (ms) => ms >= since - 1000 && ms <= Date.now() + 1000;
    const text = (s) => {
        for (const [from, to] of texts) s = s.split(from).join(to);
        if (s.length > 1000 && s === s[0].repeat(s.length)) return { $t: "repeat", v: s[0], n: s.length };
        if (UUID4.test(s) && !known.includes(s)) return { $t: "uuid" };
        if (ISO.test(s) && soon(Date.parse(s)) && !known.includes(s)) return { $t: "now", v: "iso" };
        return s;
    };
    const walk = (v) => {
        if (v === undefined) return { $t: "undefined" };
        if (typeof v === "string") return text(v);
        if (typeof v === "number") {
            if (Number.isNaN(v)) return { $t: "number", v: "NaN" };
            if (!Number.isFinite(v)) return { $t: "number", v: String(v) };
            return soon(v) && !known.includes(String(v)) ? { $t: "now", v: "ms" } : v;
        }
        if (v === null || typeof v === "boolean") return v;
        if (typeof v !== "object") return { $t: typeof v };
        if (open.includes(v)) return { $t: "circular" };
        if (Buffer.isBuffer(v)) return { $t: "buffer", v: v.toString("base64") };
        if (v instanceof Date) {
            return { $t: "date", v: Number.isNaN(v.getTime()) ? "Invalid Date" : v.toISOString() };
        }
        if (v instanceof Error) {
            const error = { $t: "error", name: v.name, message: text(v.message) };
            if (v.code) error.code = v.code;
            if (v.response?.status) error.status = v.response.status;
            return error;
        }
        if (typeof v[Symbol.asyncIterator] === "function") return { $t: "async iterator" };
        open.push(v);
        try {
            if (!Array.isArray(v)) return Object.fromEntries(entries(v).map(([k, x]) => [k, walk(x)]));
            const items = Array.from(v, walk);
            const more = entries(v).filter(([k]) => !/^\d+$/.test(k));
            if (more.length === 0) return items;
            // Properties set on the array object itself: JSON loses them, and so does a clone.
            return { $t: "array", v: items, properties: Object.fromEntries(more.map(([k, x]) => [k, walk(x)])) };
        } finally {
            open.pop();
        }
    };
    return walk(value);
}

const entries = (v) => Object.entries(v).filter(([k]) => k !== "_msgid");

module.exports = { encode };
