// jsmodbus. Arguments: host port, or the path of a serial line.
const net = require("net");
const modbus = require("jsmodbus");
const { answer, numbers } = require("./answering.js");

const [where, port] = process.argv.slice(2);
let client, opened, socket;
if (port) {
  socket = new net.Socket();
  client = new modbus.client.TCP(socket, 1, 20000);
  opened = "connect";
  socket.connect({ host: where, port: Number(port) });
} else {
  const { SerialPort } = require("serialport");
  socket = new SerialPort({ path: where, baudRate: 9600 });
  client = new modbus.client.RTU(socket, 1, 20000);
  opened = "open";
}

const read = (name) => async (at, count) =>
  numbers((await client[name](at, count)).response.body.valuesAsArray).slice(0, count);
const write = (name) => async (at, value) => { await client[name](at, value); };

socket.on(opened, () => answer({
  "coils": read("readCoils"),
  "discrete": read("readDiscreteInputs"),
  "holding": read("readHoldingRegisters"),
  "input": read("readInputRegisters"),
  "coil=": write("writeSingleCoil"),
  "register=": write("writeSingleRegister"),
  "coils=": write("writeMultipleCoils"),
  "registers=": write("writeMultipleRegisters"),
}));
