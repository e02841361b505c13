import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Stack } from "../../tools/stack";

jest.setTimeout(120_000);

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-settings-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

it("invalid settings print only their errors, without a warning from Node", async () => {
  const stack = await new Stack({ name: "settings-error", directory }).init();
  await stack.configure([], { hosts: [{ name: "a", address: "192.0.2.1", nonsense: 4 }] });
  const { code, stdout, stderr } = await stack.preview();
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain("lsyncd:hosts[0].nonsense: unknown setting (typo?)");
  expect(stdout + stderr).not.toMatch(/warning/i);
});
