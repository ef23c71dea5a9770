// modbus-serial. Arguments: tcp host port, rtu path, or telnet host port for RTU over TCP.
const ModbusRTU = require("modbus-serial");
const { answer, numbers } = require("./answering.js");

const [kind, where, port] = process.argv.slice(2);
const client = new ModbusRTU();
const line = { baudRate: 9600 };
const open = {
  "tcp": () => client.connectTCP(where, { port: Number(port) }),
  "rtu": () => client.connectRTUBuffered(where, line),
  "telnet": () => client.connectTelnet(where, { port: Number(port) }),
};
const read = (name) => async (at, count) => numbers((await client[name](at, count)).data).slice(0, count);
const write = (name) => async (...args) => { await client[name](...args); };

open[kind]().then(() => {
  client.setID(1);
  client.setTimeout(20000);
  return answer({
    "coils": read("readCoils"),
    "discrete": read("readDiscreteInputs"),
    "holding": read("readHoldingRegisters"),
    "input": read("readInputRegisters"),
    "coil=": write("writeCoil"),
    "register=": write("writeRegister"),
    "coils=": write("writeCoils"),
    "registers=": write("writeRegisters"),
    "mask=": write("maskWriteRegister"),
    "both": (at, count, start, those) => new Promise((done, failed) =>
      client.writeFC23(1, at, count, start, those.length, those, (error, told) =>
        error ? failed(error) : done(numbers(told.data)))),
    "identity": async () => (await client.readDeviceIdentification(1, 0)).data[0],
  });
});
