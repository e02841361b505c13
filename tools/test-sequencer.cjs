const Sequencer = require("@jest/test-sequencer").default;

/**
 * The files of tests that take longest, the longest first (270 to 50 s each). jest knows how long a file took only where it has
 * run before, and goes by size in a new clone: there it began some of these last, and one worker had nothing left to do meanwhile.
 */
const slowest = [
  ...["sqlite-hostile", "activation-cut", "deploy", "fleet-drift", "faults-files", "faults-mounts", "sqlite-torture"],
  ...["preflight-places", "replaced-together", "takeover", "refusals", "upgrade", "alerts", "verify", "sqlite-mirror"],
  ...["command-provider", "sqlite-model", "lsyncd-calls", "vm-smoke"],
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
