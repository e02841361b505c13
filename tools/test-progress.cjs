/** A jest reporter that shows each test when it ends: a file of tests on real hosts takes minutes to its own end. */
module.exports = class Progress {
  onTestCaseResult(test, { status, fullName, duration }) {
    const marks = { passed: "✓", failed: "✕" };
    const seconds = ((duration ?? 0) / 1000).toFixed(1);
    process.stderr.write(`  ${marks[status] ?? "○"} ${fullName} (${seconds} s)\n`);
  }
};
