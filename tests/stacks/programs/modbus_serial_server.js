// modbus-serial's server. Argument: a port of loopback.
const ModbusRTU = require("modbus-serial");

const registers = Array(100).fill(7);
const coils = Array.from({ length: 32 }, (_, at) => at % 2 === 0);
const server = new ModbusRTU.ServerTCP({
  getHoldingRegister: (at) => registers[at],
  getInputRegister: () => 42,
  getCoil: (at) => coils[at],
  getDiscreteInput: (at) => at % 2 === 1,
  setRegister: (at, value) => { registers[at] = value; },
  setCoil: (at, value) => { coils[at] = value; },
}, { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 1 });
server.on("initialized", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
