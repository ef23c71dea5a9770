// Operations by name from stdin as JSON, their results to stdout: what answering.py is to Python.

async function one(operations, name, args) {
  try {
    const result = await operations[name](...args);
    return result === undefined ? null : result;
  } catch (error) {
    const body = error.response && error.response.body;
    const code = error.modbusCode ?? (body && body.code) ?? error.code ?? null;
    return { error: String(error.message || error), code };
  }
}

exports.answer = async function (operations, log = console.log) {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  const results = [];
  for (const [name, ...args] of JSON.parse(text)) results.push(await one(operations, name, args));
  log(JSON.stringify(results));
  process.exit(0);
};

exports.numbers = (them) => Array.from(them, Number);
