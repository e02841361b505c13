import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noteRefusal, Password, passwordsOf, refusedBefore, type Verdict } from "../../infra/passwords";
import { hostOf } from "./support/settings";

describe("a password that several hosts share", () => {
  /** The result of each host when all try at the same time, and the largest number of simultaneous attempts. */
  async function tried(verdicts: Verdict[]): Promise<{ answers: (Verdict | undefined)[]; most: number }> {
    const password = new Password("x");
    let [now, most] = [0, 0];
    const attempt = async (verdict: Verdict): Promise<Verdict> => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now -= 1;
      return verdict;
    };
    const answers = await Promise.all(
      verdicts.map((verdict, index) =>
        password.tryOn(
          String(index),
          () => attempt(verdict),
          (found) => found,
        ),
      ),
    );
    return { answers, most };
  }

  it("is tried on one host first, and after a refusal on no other host", async () => {
    expect(await tried(["refused", "accepted", "accepted"])).toEqual({
      answers: ["refused", undefined, undefined],
      most: 1,
    });
  });

  it("is used on all other hosts at once after one has accepted it", async () => {
    expect(await tried(["accepted", "accepted", "accepted"])).toMatchObject({ most: 2 });
  });

  it("is tried on the next host when the first did not ask for it", async () => {
    expect(await tried(["unknown", "refused", "accepted"])).toEqual({
      answers: ["unknown", "refused", undefined],
      most: 1,
    });
  });

  it("is tried on the next host when an attempt fails for another reason", async () => {
    const password = new Password("x");
    const gone = (): Promise<number> => Promise.reject(new Error("gone"));
    const fails = password.tryOn("a", gone, () => "unknown");
    const next = password.tryOn(
      "b",
      () => Promise.resolve(1),
      () => "refused",
    );
    await expect(fails).rejects.toThrow("gone");
    expect(await next).toBe(1);
    expect(password.refusedBy).toBe("b");
  });
});

it("equal passwords of equal users are one shared password, and root has none", () => {
  const host = (name: string, more: Record<string, string>) => ({ ...hostOf(more), name });
  const found = passwordsOf([
    host("a", { user: "deploy", becomePassword: "x" }),
    host("b", { user: "deploy", becomePassword: "x" }),
    host("c", { user: "admin", becomePassword: "x" }),
    host("d", { user: "deploy", becomePassword: "y" }),
    host("e", { becomePassword: "x" }),
    host("f", { user: "deploy" }),
  ]);
  expect([...found.keys()]).toEqual(["a", "b", "c", "d"]);
  expect(found.get("a")).toBe(found.get("b"));
  expect(new Set(found.values()).size).toBe(3);
});

it("a refusal is remembered for the rest of the run only", () => {
  const directory = mkdtempSync(join(tmpdir(), "lsyncd-as-code-test-"));
  try {
    process.env.LSYNCD_RUN_DIRECTORY = directory;
    expect([...refusedBefore()]).toEqual([]);
    noteRefusal("sqlite-1", "sqlite-1");
    noteRefusal("sqlite-2", "sqlite-1");
    expect([...refusedBefore()]).toEqual([
      ["sqlite-1", "sqlite-1"],
      ["sqlite-2", "sqlite-1"],
    ]);
    delete process.env.LSYNCD_RUN_DIRECTORY;
    expect([...refusedBefore()]).toEqual([]);
  } finally {
    delete process.env.LSYNCD_RUN_DIRECTORY;
    rmSync(directory, { recursive: true });
  }
});
