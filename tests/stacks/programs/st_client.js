// st-ethernet-ip. Arguments: host port, then connected or not.
const { Controller, TagGroup, TagList } = require("st-ethernet-ip");
const config = require("st-ethernet-ip/dist/config.js");
const { answer } = require("./answering.js");

const [host, port, kind] = process.argv.slice(2);
config.EIP_PORT = Number(port);
const controller = new Controller(kind === "connected");
controller.timeout_sp = 20000;

// What JSON does not have: 64 bit numbers as text.
const plain = (value) => JSON.parse(
  JSON.stringify(value ?? null, (_, each) => typeof each === "bigint" ? each.toString() : each));

const made = (name, program = null, ...size) => controller.newTag(name, program, false, ...size);

controller.connect(host, 0).then(() => answer({
  "properties": async () => controller.properties.name,
  "tags": async () => {
    const list = new TagList();
    await controller.getControllerTagList(list);
    return list.tags.map((tag) => (tag.program ? `Program:${tag.program}.` : "") + tag.name).sort();
  },
  "read": async (name, program) => {
    const tag = made(name, program);
    await controller.readTag(tag);
    return plain(tag.value);
  },
  "array": async (name, count) => {
    const tag = made(name, null, 1, count);
    await controller.readTag(tag);
    return plain(tag.value);
  },
  "reads": async (names) => {
    const group = new TagGroup();
    const tags = names.map((name) => made(name));
    tags.forEach((tag) => group.add(tag));
    await controller.readTagGroup(group);
    return tags.map((tag) => plain(tag.value));
  },
  "write": async (name, value) => {
    const tag = made(name);
    await controller.readTag(tag);
    if (typeof tag.value === "bigint") tag.value = BigInt(value);
    else tag.value = typeof value === "object" && !Array.isArray(value) ? { ...tag.value, ...value } : value;
    await controller.writeTag(tag);
  },
})).catch((error) => { console.error(error); process.exit(1); });
