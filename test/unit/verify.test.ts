import { readSettings } from "../../infra/config";
import { stackConfiguration } from "../../cli/configuration/json";
import { verifyCommand } from "../../cli/verify/fleet";
import { exitCode, readReport, reportText, type HostReport } from "../../cli/verify/report";

const finished = (code: number, stdout: string, stderr = ""): HostReport =>
  readReport("sqlite-1", 1.25, { code, stdout, stderr });

describe("a host's verification output", () => {
  it("is a pass only with a matching exit code and last line", () => {
    const report = finished(0, "12 files, 3 databases: 0 faults, 0 not checked\n");
    expect(report).toMatchObject({ result: "fine", counts: { files: 12, databases: 3, faults: 0, unchecked: 0 } });
    expect(finished(0, "").result).toBe("not checked");
    expect(finished(255, "12 files, 3 databases: 0 faults, 0 not checked\n").result).toBe("not checked");
  });

  it("names each finding", () => {
    const report = finished(
      1,
      "FAULT a.sqlite: SQLite reports: malformed\nUNCHECKED b.db: too little space\n2 files, 2 databases: 1 faults, 1 not checked\n",
    );
    expect(report.result).toBe("faults");
    expect(report.findings).toEqual([
      { kind: "fault", text: "a.sqlite: SQLite reports: malformed" },
      { kind: "unchecked", text: "b.db: too little space" },
    ]);
  });

  it('is "not checked" when the command is missing or sudo asks for a password', () => {
    expect(finished(127, "", "sh: 1: lsyncd-verify: not found\n").reason).toMatch(/deploy first/);
    expect(finished(1, "", "sudo: a password is required\n")).toMatchObject({
      result: "not checked",
      reason: "sudo: a password is required",
    });
  });
});

describe("the report for all hosts", () => {
  const fine = finished(0, "1 files, 0 databases: 0 faults, 0 not checked");
  const faulty = finished(1, "FAULT a: is missing in the mirror\n1 files, 0 databases: 1 faults, 0 not checked");
  const away = finished(1, "", "no route");

  it("exits 1 for a fault on any host, else 2 for a host that was not checked", () => {
    expect([exitCode([fine]), exitCode([fine, away, faulty]), exitCode([fine, away])]).toEqual([0, 1, 2]);
  });

  it("is a table with the findings below it", () => {
    expect(reportText([fine, { ...away, host: "sqlite-22" }])).toBe(
      [
        "host       result       files  databases  faults  unchecked  seconds",
        "sqlite-1   fine             1          0       0          0      1.3",
        "sqlite-22  not checked      -          -       -          -      1.3",
        "",
        "sqlite-22: no route",
        "",
        "More: docs/on-a-host.md#verification",
      ].join("\n"),
    );
  });
});

describe("a stack's configuration", () => {
  it("is read as the program itself receives it", () => {
    const hosts = '[{"name":"a","address":"10.0.0.1","user":"deploy"}]';
    const stack = stackConfiguration(
      JSON.stringify({ "lsyncd:hosts": { value: hosts, secret: false }, "lsyncd:delay": { value: "5" } }),
    );
    const [host] = readSettings({ stack, env: {} }).hosts;
    expect(host).toMatchObject({ name: "a", delay: 5 });
    expect(host && verifyCommand(host, { full: true, maxAge: 5 }).create).toBe("bash -s -- verify --full --max-age=5");
  });

  it("is never shown when it cannot be parsed", () => {
    expect(() => stackConfiguration("secret")).toThrow(/^pulumi did not print/);
    expect(() => stackConfiguration('{"a":"secret"}')).toThrow(/^pulumi printed/);
  });
});
