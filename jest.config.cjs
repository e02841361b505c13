const swc = [
  "@swc/jest",
  { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
];
const common = {
  testEnvironment: "node",
  transform: { "\\.ts$": swc },
  modulePathIgnorePatterns: ["<rootDir>/.pulumi"],
};

/**
 * Integration tests that take many minutes each, most of them faults injected at one point after the other. They are a
 * project of their own, `npm run test:long`, so that `npm test` stays below twenty minutes.
 */
const long = [
  "activation-interrupted",
  "activation-undone",
  "alerts-checks",
  "alerts-faults",
  "alerts-mail",
  "alerts-trixie",
  "backends",
  "btrfs",
  "docs",
  "drill",
  "faults-volumes",
  "fleet-hosts",
  "fleet-reach",
  "fleet-sudo",
  "hosts",
  "operator",
  "sqlite-big",
  "sqlite-deployed",
  "sqlite-torture-long",
  "upkeep",
  "verify-fleet",
  "workflows",
].map((name) => `<rootDir>/test/integration/${name}.test.ts`);

/** `unit` does no I/O and takes seconds, `integration` and `long` run the engine against sandbox hosts. */
module.exports = {
  // Of a unit test on a busy machine; tests on hosts set their own.
  testTimeout: 60_000,
  projects: [
    { ...common, displayName: "unit", testMatch: ["<rootDir>/test/unit/**/*.test.ts"] },
    {
      ...common,
      displayName: "integration",
      testMatch: ["<rootDir>/test/integration/**/*.test.ts"],
      testPathIgnorePatterns: ["/node_modules/", ...long.map((path) => path.replace("<rootDir>", ""))],
    },
    { ...common, displayName: "long", testMatch: long },
  ],
};
