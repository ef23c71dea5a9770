// nodepccc. Arguments: host port, then slot of a route or none.
const NodePCCC = require("nodepccc");
const { answer } = require("./answering.js");

const log = console.log;
console.log = () => {};  // it tells what it does
const [host, port, slot] = process.argv.slice(2);
const connection = new NodePCCC();
const routing = slot === undefined ? {} : { routing: [1, 0, 1, Number(slot)] };

connection.initiateConnection({ host, port: Number(port), ...routing }, (error) => {
  if (error !== undefined) { console.error(error); process.exit(1); }
  answer({
    "read": (address) => new Promise((done, failed) => {
      connection.addItems(address);
      connection.readAllItems((bad, values) => {
        connection.removeItems(address);
        if (bad) failed(new Error(`bad: ${values[address]}`)); else done(values[address]);
      });
    }),
    "write": (address, value) => new Promise((done, failed) => {
      const refused = connection.writeItems(address, value, (bad) =>
        bad ? failed(new Error("bad")) : done(null));
      if (refused) failed(new Error("a write is under way"));
    }),
  }, log);
});
