const Sequencer = require("@jest/test-sequencer").default;

/**
 * The files of tests that take longest, the longest first (195 to 50 s each). jest knows how long a file took only where it has
 * run before, and goes by size in a new clone: there it began some of these last, and one worker had nothing left to do meanwhile.
 */
const slowest = [
  ...[
    "fleet-drift",
    "faults-files",
    "sqlite-hostile",
    "activation-cut",
    "sqlite-torture",
    "deploy",
    "refusals",
    "alerts",
  ],
  ...["sqlite-mirror", "preflight-places", "verify", "command-provider", "faults-mounts", "sqlite-model", "upgrade"],
  ...["lsyncd-calls", "vm-smoke"],
];

const rank = ({ path }) => {
  const found = slowest.indexOf(path.replace(/^.*\//, "").replace(/\.test\.ts$/, ""));
  return found < 0 ? slowest.length : found;
};

/** Starts the slow files first, all others as jest does. */
module.exports = class SlowestFirst extends Sequencer {
  sort(tests) {
    return super.sort(tests).sort((one, other) => rank(one) - rank(other));
  }
};
module.exports.slowest = slowest;
