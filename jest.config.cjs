const { onSuitableNode } = require("./toolchain/node.cjs");

const swc = [
  "@swc/jest",
  { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
];

/** The tests of a folder; the folder decides what runs when. */
const project = (displayName, folder) => ({
  displayName,
  testEnvironment: "node",
  transform: { "\\.ts$": swc },
  modulePathIgnorePatterns: ["<rootDir>/.pulumi"],
  testMatch: [`<rootDir>/test/${folder}/**/*.test.ts`],
});

const config = {
  // Of a unit test on a busy machine; tests on hosts set their own.
  testTimeout: 60_000,
  testSequencer: "./tools/test-sequencer.cjs",
  projects: [
    // No I/O, seconds.
    project("unit", "unit"),
    // The programs of templates/, called directly on this machine.
    project("programs", "programs"),
    // The engine against sandbox hosts.
    project("hosts", "hosts"),
    // Many minutes each, most of them faults injected at one point after the other: `npm run test:long`.
    project("long", "hosts-long"),
  ],
};

// Also `npx jest` runs on a Node that will do.
module.exports = async () => {
  await onSuitableNode();
  return config;
};
