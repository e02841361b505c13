import { basename, dirname, resolve } from "node:path";
import { run, type Finished } from "../../toolchain/run";
import { kill } from "../../tools/sandbox";
import { mirrored, on, prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(300_000);

let d: Deployment;
const hosts = (): [Deployment["host"], Deployment["host"]] => {
  const [first, second] = d.hosts;
  if (!first || !second) throw new Error("two hosts are needed");
  return [first, second];
};

/** `npm run verify`, as an operator of the stack runs it. */
async function verify(...args: string[]): Promise<Finished> {
  const { configFile } = d.stack;
  const name = basename(configFile).replace(/^Pulumi\.(.*)\.yaml$/, "$1");
  const root = resolve(__dirname, "../..");
  const command = ["toolchain/bootstrap.mjs", "cli/verify.ts", "--stack", name, "--config-file", configFile, ...args];
  return run(process.execPath, command, {
    cwd: root,
    allowFailure: true,
    env: {
      ...process.env,
      SSH_AUTH_SOCK: "",
      PULUMI_BACKEND_URL: `file://${dirname(configFile)}/state`,
      PULUMI_CONFIG_PASSPHRASE: "sandbox",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    },
  });
}

beforeAll(async () => {
  d = await prepare("verify", { hosts: 2 });
  // One host as root, the other as a user with sudo.
  await d.configure({}, { "sqlite-2": { user: "admin" } });
  await Promise.all(
    d.hosts.map((host) =>
      on(
        host,
        `cd ${host.source} && sqlite3 a.sqlite 'CREATE TABLE t AS SELECT hex(randomblob(5000)) AS x' && echo 1 > b`,
      ),
    ),
  );
  succeeded(await d.stack.up());
  await Promise.all(d.hosts.map((host) => mirrored(host)));
});
afterAll(async () => {
  await d.remove();
});

describe("npm run verify", () => {
  it("reports all hosts in one table, and exits 0 when all are healthy", async () => {
    const { code, stdout } = await verify("--checksum", "--full");
    expect(stdout).toMatch(/^host +result +files +databases +faults +unchecked +seconds$/m);
    expect(stdout).toMatch(/^sqlite-1 +fine +2 +1 +0 +0 /m);
    expect(stdout).toMatch(/^sqlite-2 +fine +2 +1 +0 +0 /m);
    expect(code).toBe(0);
  });

  it("opens one connection to each host", async () => {
    const [host] = hosts();
    const logins = async (): Promise<number> =>
      Number(await on(host, "journalctl -u ssh -q -o cat | grep -c '^Accepted'"));
    const before = await logins();
    await verify();
    // One of them belongs to the count itself.
    expect((await logins()) - before).toBe(2);
  });

  it("names a damaged database and its host, and exits 1", async () => {
    const [, host] = hosts();
    await on(host, `printf broken | dd of=${host.target}/a.sqlite bs=1 seek=4100 conv=notrunc status=none`);
    const { code, stdout } = await verify();
    expect(stdout).toMatch(/^sqlite-1 +fine /m);
    expect(stdout).toMatch(/^sqlite-2 +faults +2 +1 +1 +0 /m);
    expect(stdout).toMatch(/^sqlite-2: fault: a\.sqlite: SQLite reports: /m);
    expect(code).toBe(1);
  });

  it("names a host that does not answer, and exits 2 when the others are healthy", async () => {
    const [, host] = hosts();
    await kill(host);
    const { code, stdout } = await verify();
    expect(stdout).toMatch(/^sqlite-1 +fine /m);
    expect(stdout).toMatch(/^sqlite-2 +not checked +- /m);
    expect(stdout).toMatch(/^sqlite-2: \S+ port \d+: .+/m);
    expect(code).toBe(2);
  });

  it("names a stack that it cannot read, and shows no secret", async () => {
    const { code, stderr, stdout } = await verify("--stack", "nobody");
    expect([code, stderr]).toEqual([2, expect.stringMatching(/could not read the settings of nobody/) as string]);
    expect(`${stdout}${stderr}`).not.toContain("PRIVATE KEY");
  });
});
