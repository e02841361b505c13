const swc = [
  "@swc/jest",
  { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
];
const common = {
  testEnvironment: "node",
  transform: { "\\.ts$": swc },
  modulePathIgnorePatterns: ["<rootDir>/.pulumi"],
};

/** Two projects: `unit` does no I/O and takes seconds, `integration` runs the engine against sandbox hosts. */
module.exports = {
  projects: [
    { ...common, displayName: "unit", testMatch: ["<rootDir>/test/unit/**/*.test.ts"] },
    { ...common, displayName: "integration", testMatch: ["<rootDir>/test/integration/**/*.test.ts"] },
  ],
};
