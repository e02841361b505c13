// Where the engine begins. tsx reads TypeScript in a tenth of the time of what the engine has for it.
const putBack = require("./typescript.cjs").prepare();
require("tsx/cjs");
putBack();

// The SDK notes the stack at every promise, in errors without a message that nobody reads. To write them down, and to map
// them back to the sources, took a quarter of the program's time.
const readable = Error.prepareStackTrace;
Error.prepareStackTrace = (error, frames) => {
  if (error.message === "") return String(error);
  return readable ? readable(error, frames) : [error, ...frames].join("\n    at ");
};

module.exports = require("./index.ts");
