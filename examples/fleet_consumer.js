// Follows a site's history on NATS: every block, in order, each once (docs/fleet.md).
//
//   node fleet_consumer.js nats://127.0.0.1:4222 SITE [NAME]    prints a line of JSON for each block or gap
//
// NAME is a durable consumer's: it goes on where it was. A body in parts is put together; a block that comes
// again is known by its gateway, worker, epoch and sequence.
const {connect} = require('@nats-io/transport-node');
const {jetstream, jetstreamManager, AckPolicy, DeliverPolicy} = require('@nats-io/jetstream');
const {decode} = require('@msgpack/msgpack');

const GOOD = 0;

function samples([members, tags, values, qualities]) {
  const quality = (at) => (typeof qualities === 'number' ? qualities : qualities[at]) & 0xff;
  return Object.fromEntries(tags.map((tag, at) => [tag, quality(at) === GOOD ? values[at] : null]));
}

async function main([server, site, name = 'example']) {
  const connection = await connect({servers: server});
  const stream = `H_${site}`;
  const manager = await jetstreamManager(connection);
  await manager.consumers.add(stream, {
    durable_name: name, ack_policy: AckPolicy.Explicit, deliver_policy: DeliverPolicy.All,
  });
  const consumer = await jetstream(connection).consumers.get(stream, name);
  let parts = [];
  for await (const message of await consumer.consume()) {
    const header = (key) => message.headers?.get(key) ?? '';
    const [number, count] = (header('Cpppod-Part') || '1/1').split('/').map(Number);
    parts = number === 1 ? [message.data] : [...parts, message.data];
    if (number === count) {
      const body = decode(Buffer.concat(parts), {useBigInt64: false});
      const told = header('Cpppod-Kind') === 'gap'
        ? {gap: body}
        : {publisher: body[1], epoch: body[2], sequence: body[3], tags: samples(body[9])};
      console.log(JSON.stringify({gateway: header('Cpppod-Gateway'), subject: message.subject, ...told}));
    }
    message.ack();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`fleet_consumer: ${error.message}`);
  process.exit(1);
});
