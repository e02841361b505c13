// The engine starts here.
require("./typescript.cjs").readTypescript();

// The SDK notes the stack at every promise, in errors without a message, which are never printed. Recording them, and mapping
// them back to the sources, took a quarter of the program's time.
const readable = Error.prepareStackTrace;
Error.prepareStackTrace = (error, frames) => {
  if (error.message === "") return String(error);
  return readable ? readable(error, frames) : [error, ...frames].join("\n    at ");
};

// The SDK sends each text that it serializes to the engine as a debug message too, whether or not someone asked for these. With the
// files of many hosts, that took another quarter.
const log = require("@pulumi/pulumi/log");
const { debug } = log;
const longest = 2000;
log.debug = (message, ...rest) => {
  const cut = message.length > longest ? `${message.slice(0, longest)}… (${message.length} characters)` : message;
  return debug(cut, ...rest);
};

module.exports = require("./index.ts");
