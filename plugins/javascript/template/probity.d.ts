// What a Probity plugin in JavaScript finds. For editors; the engine does not read it.

declare namespace probity {
  /** A message. Properties are read when you touch them, and only what you change goes back. */
  interface Message {
    payload?: any;
    topic?: any;
    /** What the caller sent, in flows that begin with `http in`. */
    req?: {
      body?: any;
      query: Record<string, any>;
      params: Record<string, string>;
      headers: Record<string, string>;
      cookies: Record<string, string>;
      method: string;
      url: string;
      [key: string]: any;
    };
    [key: string]: any;
  }

  /** A message; or a list with one entry per output, each a message, a list of messages, or nothing. */
  type Sent = Message | null | undefined | (Message | (Message | null | undefined)[] | null | undefined)[];

  type Capability =
    | "clock" | "random" | "secret" | "http" | "state" | "evidence" | "typed-input" | "context" | "files";

  /** A node type: `export const node = { … }`, or several: `export const nodes = [ … ]`. */
  interface Node {
    /** As flows write it, for example `check-property`. */
    type: string;
    /** MAJOR.MINOR.PATCH; 1.0.0 when left out. */
    version?: string;
    /** Palette category; `function` when left out. */
    category?: string;
    /** `#rrggbb`. */
    color?: string;
    /** Font Awesome 4 name, for example `fa-filter`. */
    icon?: string;
    /** One sentence. */
    summary?: string;
    /** Markdown. */
    help?: string;
    /** 1 when left out. */
    inputs?: 0 | 1;
    /** Labels, or how many there are; 1 when left out. */
    outputs?: string[] | number;
    /** JSON Schemas of the node's properties by name (`required: true` is allowed in each), or a schema of an object. */
    config?: Record<string, any>;
    /** Message properties that are handed over; all when left out. */
    wants?: string[];
    /** What the node uses; each needs a [[capability]] in plugin.toml. */
    capabilities?: Capability[];
    /** Handles one message. What it returns is sent. It lasts until its promise and all its timers are done. */
    process(msg: Message, node: Handle): Sent | void | Promise<Sent | void>;
    /** Called when a run in which this node had a message has nothing else left to do; `msg` is the last of them. */
    runEnd?(msg: Message, node: Handle): Sent | void | Promise<Sent | void>;
  }

  /** Values that last longer than a call; JSON, and Buffers within it. Capability `state`. */
  interface State {
    get(key: string): any;
    set(key: string, value: any): void;
    delete(key: string): void;
    /** Sets what `change` makes of the value; calls it again when somebody else was faster. */
    update<T>(key: string, change: (value: any) => T): T;
  }

  interface Context {
    get(path: string): any;
    set(path: string, value: any): void;
  }

  /** The node that handles a message. */
  interface Handle {
    /** Its properties, defaults filled in. Frozen. */
    readonly config: any;
    /** Its id in the flow. */
    readonly id: string;
    /** Id of the run. */
    readonly run: string;
    /** True when somebody waits for this run: an HTTP caller, a schedule, an evaluation. */
    readonly caller: boolean;
    send(message: Sent): void;
    /** Does nothing: a handler is done when it has returned. */
    done(): void;
    debug(value: any): void;
    trace(value: any): void;
    log(value: any): void;
    warn(value: any): void;
    /** Logs an error; with a message the call fails with it, and catch nodes get it. */
    error(value: any, message?: Message): void;
    status(
      status:
        | { fill?: "red" | "green" | "yellow" | "blue" | "grey"; shape?: "ring" | "dot"; text?: string }
        | string,
    ): void;
    /** A placeholder that the engine replaces in this plugin's own requests. Capability `secret`. */
    secret(name: string): string;
    state: {
      /** Gone with the run. Runs nobody waits for share one. */
      run: State;
      /** Kept across runs, until the engine stops. */
      node: State;
    };
    /** Keeps a fact that a verdict rests on; its id. Capability `evidence`. */
    evidence(key: string, value: any, outcome?: boolean): string;
    /** The value of one of Node-RED's typed inputs on the message being handled. Capability `typed-input`. */
    typedInput(kind: string, text: string): any;
    /** Capability `context`. */
    flow: Context;
    global: Context;
    context(): Context & { flow: Context; global: Context };
    /** Reads below the folders that the operator named. Capability `files`. */
    files: { read(path: string): Buffer; read(path: string, encoding: string): string };
    /** Milliseconds since 1970. Capability `clock`. */
    now(): number;
  }
}

/** The parts of Node.js's Buffer that flows use. */
declare class Buffer extends Uint8Array {
  static from(value: string | ArrayBuffer | ArrayLike<number> | { type: "Buffer"; data: number[] }, encoding?: any, length?: number): Buffer;
  static alloc(size: number, fill?: string | number | Uint8Array, encoding?: string): Buffer;
  static allocUnsafe(size: number): Buffer;
  static concat(list: Uint8Array[], length?: number): Buffer;
  static isBuffer(value: any): value is Buffer;
  static isEncoding(name: string): boolean;
  static byteLength(value: string | Uint8Array, encoding?: string): number;
  static compare(a: Uint8Array, b: Uint8Array): number;
  toString(encoding?: string, start?: number, end?: number): string;
  toJSON(): { type: "Buffer"; data: number[] };
  equals(other: Uint8Array): boolean;
  [method: string]: any;
}

/** Node-RED's utilities, as far as function nodes use them. */
declare const RED: {
  util: {
    cloneMessage<T>(message: T): T;
    getMessageProperty(message: any, expression: string): any;
    setMessageProperty(message: any, expression: string, value: any, create?: boolean): boolean;
    getObjectProperty(object: any, expression: string): any;
    setObjectProperty(object: any, expression: string, value: any, create?: boolean): boolean;
    compareObjects(a: any, b: any): boolean;
    ensureString(value: any): string;
    ensureBuffer(value: any): Buffer;
    generateId(): string;
  };
};
