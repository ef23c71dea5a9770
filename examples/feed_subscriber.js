// Subscribes to a gateway's feed from Node.js: last values first, then every block, losses said.
//
//     npm install                (in this folder: zeromq, @msgpack/msgpack)
//     node feed_subscriber.js tcp://127.0.0.1:44880 --seconds 60
//
// Options: --requests URL    snapshot and replay; the port after the other by default
//          --seconds N       leave after N seconds with a summary; 0, the default, stays
//          --count N         leave after N samples with a summary
//          --quiet           only the summary
//          --public-key KEY --secret-key KEY --server-key KEY
//                            CURVE, where the feed wants it: this client's keys and the feed's, Z85
//
// Values go to stdout, one line a sample; losses and the summary to stderr. docs/feed.md has the format.
"use strict";

const { parseArgs } = require("node:util");
const { Subscriber, Dealer } = require("zeromq");
const { encode, decode } = require("@msgpack/msgpack");

const VERSION = 1;
const [BLOCK, HEARTBEAT, REPEAT] = [1, 2, 3]; // kinds of value messages
const [REFUSED, SNAPSHOT, REPLAY] = [0, 1, 2]; // kinds of replies
const REPLY_TIMEOUT_MS = 2000;
const MAX_QUEUED = 50000; // messages behind a gap

const counters = { blocks: 0, values: 0, gaps: 0, replayed: 0, lost: 0, snapshots: 0, silent: 0 };
const chains = new Map(); // publisher -> { epoch, last, queue }; queue: what waits behind a gap
const topics = new Map(); // topic -> { publisher, epoch, sequence } of what was printed last
const heard = new Map(); // publisher -> milliseconds, of its last message
let early = []; // messages from before the snapshot; null once it has come
let most = Infinity; // samples until we leave
let leaving = false;

function leave() {
  leaving = true; // what was printed is still to reach its reader
  process.stdout.write("", () => {
    process.stderr.write(`${JSON.stringify(counters)}\n`, () => process.exit(0));
  });
}

function read(topic, payload) {
  const [version, publisher, epoch, sequence, previous, sourceUs, gatewayUs, monoUs, kind, body] =
    decode(payload);
  return version === VERSION ? { topic, publisher, epoch, sequence, sourceUs, kind, body } : null;
}

function show(message, quiet) {
  if (leaving) return;
  const known = topics.get(message.topic);
  const same =
    known && known.publisher === message.publisher && known.epoch === message.epoch;
  const newest = same ? known.sequence + (message.kind === BLOCK) : 0;
  if (message.sequence < newest) return; // a snapshot was newer
  const { publisher, epoch, sequence } = message;
  topics.set(message.topic, { publisher, epoch, sequence });
  const [, tags, values, qualities] = message.body;
  counters.blocks += message.kind === BLOCK;
  counters.values += tags.length;
  if (!quiet) print(message, tags, values, qualities);
  if (counters.values >= most) leave();
}

function print(message, tags, values, qualities) {
  const time = new Date(message.sourceUs / 1000).toISOString();
  const device = message.topic.split("/")[0];
  tags.forEach((tag, index) => {
    const quality = Array.isArray(qualities) ? qualities[index] : qualities;
    const value = JSON.stringify(values[index], (_, v) => (typeof v === "bigint" ? `${v}` : v));
    console.log(`${time} ${device}.${tag} ${value}${quality & 0xff ? ` quality ${quality}` : ""}`);
  });
}

function lose(chain, publisher, to) {
  if (to <= chain.last) return false;
  counters.lost += to - chain.last;
  console.error(`lost ${publisher} epoch ${chain.epoch}: ${chain.last + 1} to ${to}`);
  chain.last = to;
  return true;
}

class Feed {
  constructor(requests, quiet) {
    this.requests = requests;
    this.quiet = quiet;
    this.waiting = new Map(); // id -> resolve
    this.lastId = 0;
  }

  async receiveReplies() {
    for await (const [frame] of this.requests) {
      const reply = decode(frame);
      const resolve = this.waiting.get(reply[2]);
      this.waiting.delete(reply[2]);
      if (resolve) resolve(reply[1] === REFUSED ? null : reply);
    }
  }

  // The reply to [version, kind, id, ...rest]; asked again until it comes.
  async ask(kind, ...rest) {
    for (;;) {
      const id = ++this.lastId;
      const reply = new Promise((resolve) => this.waiting.set(id, resolve));
      await this.requests.send(encode([VERSION, kind, id, ...rest]));
      const late = new Promise((resolve) => setTimeout(resolve, REPLY_TIMEOUT_MS, null));
      const answer = await Promise.race([reply, late]);
      this.waiting.delete(id);
      if (answer) return answer;
    }
  }

  async snapshot() {
    let after = "";
    let first = null;
    do {
      const [, , , , publishers, messages, next] = await this.ask(SNAPSHOT, [""], after);
      first = first || publishers;
      for (const [topic, payload] of messages) {
        const message = read(topic, payload);
        if (message) show(message, this.quiet);
      }
      after = next;
    } while (after);
    counters.snapshots += 1;
    return first;
  }

  async join() {
    for (const [publisher, [epoch, last]] of Object.entries(await this.snapshot())) {
      chains.set(publisher, { epoch, last, queue: null });
    }
    const queued = early;
    early = null;
    queued.forEach((message) => this.take(message));
  }

  take(message) {
    const { publisher, epoch, sequence, kind } = message;
    if (publisher === "feed" || ![BLOCK, HEARTBEAT, REPEAT].includes(kind)) return;
    heard.set(publisher, Date.now());
    let chain = chains.get(publisher);
    if (!chain || epoch > chain.epoch) {
      // A publisher that we have never heard of, or its next life, from 1. (What the old life lost at
      // its end is not looked for here; the library in Python does.)
      if (kind === REPEAT && !chain) return show(message, this.quiet);
      const last = chain ? 0 : sequence - (kind === BLOCK);
      chain = { epoch, last, queue: null };
      chains.set(publisher, chain);
      if (last > 0) this.snapshot(); // what was before may have gone by before we listened
    }
    if (epoch < chain.epoch) return;
    if (chain.queue) {
      if (chain.queue.length < MAX_QUEUED) chain.queue.push(message);
      return;
    }
    const needed = kind === BLOCK ? sequence - 1 : sequence;
    if (needed > chain.last) {
      counters.gaps += 1;
      chain.queue = [message];
      this.repair(publisher, chain, needed);
    } else if (kind === BLOCK && sequence > chain.last) {
      chain.last = sequence;
      show(message, this.quiet);
    } else if (kind === REPEAT) {
      show(message, this.quiet);
    }
  }

  async repair(publisher, chain, to) {
    let from = chain.last + 1;
    let lost = false;
    while (from) {
      const reply = await this.ask(REPLAY, publisher, chain.epoch, from, to, [""]);
      const [, , , , , , , , messages, next] = reply;
      for (const [topic, payload] of messages) {
        const message = read(topic, payload);
        if (!message || message.sequence <= chain.last) continue;
        lost = lose(chain, publisher, message.sequence - 1) || lost;
        chain.last = message.sequence;
        counters.replayed += 1;
        show(message, this.quiet);
      }
      from = next;
    }
    lost = lose(chain, publisher, to) || lost;
    if (lost) await this.snapshot(); // what was lost may have changed what later blocks do not name
    const queue = chain.queue;
    chain.queue = null;
    queue.forEach((message) => this.take(message));
  }
}

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      requests: { type: "string" },
      seconds: { type: "string", default: "0" },
      count: { type: "string", default: "Infinity" },
      quiet: { type: "boolean", default: false },
      "public-key": { type: "string" },
      "secret-key": { type: "string" },
      "server-key": { type: "string" },
    },
  });
  most = Number(options.count);
  const url = positionals[0] || "tcp://127.0.0.1:44880";
  const requests = options.requests || url.replace(/\d+$/, (port) => String(Number(port) + 1));
  let curve = {};
  if (options["server-key"]) {
    curve = {
      curveServerKey: options["server-key"],
      curvePublicKey: options["public-key"],
      curveSecretKey: options["secret-key"],
    };
  }
  const subscriber = new Subscriber({ receiveHighWaterMark: 4000, ...curve });
  const dealer = new Dealer({ linger: 0, ...curve });
  subscriber.connect(url);
  subscriber.subscribe(); // everything, heartbeats too
  dealer.connect(requests);
  const feed = new Feed(dealer, options.quiet);
  feed.receiveReplies();
  const joined = feed.join();
  setInterval(() => {
    const now = Date.now();
    for (const [publisher, at] of heard) {
      if (now - at > 2500) {
        counters.silent += 1;
        heard.delete(publisher);
        console.error(`silent ${publisher}: its values are stale`);
      }
    }
  }, 500).unref();
  if (Number(options.seconds)) {
    joined.then(() => {
      setTimeout(leave, 1000 * Number(options.seconds));
    });
  }
  for await (const [topic, payload] of subscriber) {
    const message = read(topic.toString(), payload);
    if (!message) continue;
    if (early) early.push(message);
    else feed.take(message);
  }
}

main().catch((error) => {
  console.error(`feed_subscriber: ${error.message}`);
  process.exit(1);
});
