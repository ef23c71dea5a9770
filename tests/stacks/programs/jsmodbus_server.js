// jsmodbus's server. Argument: a port of loopback.
const net = require("net");
const modbus = require("jsmodbus");

const words = (value) => Buffer.concat(Array.from({ length: 100 }, () => Buffer.from([0, value])));
const socket = new net.Server();
const server = new modbus.server.TCP(socket, {
  holding: words(7),
  input: words(42),
  coils: Buffer.alloc(4, 0x55),
  discrete: Buffer.alloc(4, 0xaa),
});
socket.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
