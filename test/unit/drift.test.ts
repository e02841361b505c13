import { describeDrift, parseLook, reasons, unanswered } from "../../infra/drift";

const now = new Date("2026-01-02T03:04:05.678Z");
const answered = { ...unanswered, answered: true, deployed: true };

describe("parsing a host's inspection", () => {
  it("returns the differences with the lines of each file, and the preflight's result", () => {
    const stdout =
      "run\t20260101T000000Z\nsince\t20250101T000000Z\npass\t12\npass\t12; reboot\ndrift\t/etc/x\thas other content\nline\t@@ -1 +1 @@\nline\t-\tindented\n" +
      "drift\tlsyncd.service\tis dead (exit-code)\nlooked\nPreflight warns about a (b):\n  1. x\n";
    expect(parseLook(stdout)).toEqual({
      look: {
        answered: true,
        deployed: true,
        run: "20260101T000000Z",
        since: "20250101T000000Z",
        drift: [
          { what: "/etc/x", how: "has other content", lines: ["@@ -1 +1 @@", "-\tindented"] },
          { what: "lsyncd.service", how: "is dead (exit-code)", lines: [] },
        ],
        passes: [12],
        staged: [],
      },
      said: "Preflight warns about a (b):\n  1. x\n",
    });
  });

  it("reports that nothing is deployed", () => {
    expect(parseLook("new\nlooked\n")?.look).toEqual({ ...unanswered, answered: true });
  });

  it("accepts only a valid run id, because it is written into commands", () => {
    expect(parseLook("run\tx; reboot\nsince\t20250101T000000Z'\nlooked\n")?.look).toEqual(answered);
  });

  it("returns nothing for truncated output", () => {
    expect(parseLook("drift\t/etc/x\tis missing\n")).toBeUndefined();
    expect(parseLook("bash: command not found\n")).toBeUndefined();
  });
});

describe("the trigger that runs a deployment again", () => {
  const drift = [{ what: "/etc/x", how: "is missing", lines: [] }];
  const known = { ...answered, run: "20250102T000000Z", since: "20250101T000000Z" };
  const again = "20260102T030405Z";

  it("stays the same while nothing differs", () => {
    expect(reasons(answered, now)).toEqual({ run: undefined, first: undefined });
    expect(reasons(known, now)).toEqual({ run: known.run, first: known.since });
  });

  it("is new whenever something differs, also the second time, and no file is uploaded for it", () => {
    expect(reasons({ ...answered, drift }, now)).toEqual({ run: again, first: undefined });
    expect(reasons({ ...known, drift }, now)).toEqual({ run: again, first: known.since });
  });

  it("is new for all parts when nothing is deployed", () => {
    expect(reasons({ ...known, deployed: false }, now)).toEqual({ run: again, first: again });
  });
});

it("a manual change is reported without terminal control sequences", () => {
  const lines = ["@@ -1 +1 @@", "-\u001b[2J"];
  expect(describeDrift("a", "192.0.2.1", [{ what: "/etc/x", how: "has other content", lines }])).toBe(
    "Changed by hand on a (192.0.2.1), a deployment repairs it:\n  1. /etc/x has other content\n     @@ -1 +1 @@\n     -�[2J",
  );
});
