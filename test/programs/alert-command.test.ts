import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import * as fc from "fast-check";
import { run } from "../../toolchain/run";
import { library, PretendedHost, settingsFiles } from "../support/monitor";

/** The input of alertCommand. */
interface Alert {
  version: number;
  kind: string;
  host: string;
  subject: string;
  time: string;
  issues: string[];
  text: string;
}

const json = async (text: Buffer): Promise<Alert> => {
  const input = Buffer.concat([Buffer.from('kind: alert\nhost: h\nsubject: a "b" \\ é\ntime: t\n\n'), text]).toString(
    "hex",
  );
  const { stdout } = await run("bash", ["-c", `perl -ne 'print pack "H*", $_' | "$0"`, join(library, "alert-json")], {
    input,
  });
  return JSON.parse(stdout) as Alert;
};

it("the JSON of an alert is valid for any bytes, and contains the findings", async () => {
  const alert = await json(
    Buffer.from('Time: x\n\nISSUES\n- disk: "full"\n- log: \\ \t é\nmore\n\nSERVICE STATUS\n- not this\n'),
  );
  expect(alert).toMatchObject({
    version: 1,
    kind: "alert",
    subject: 'a "b" \\ é',
    issues: ['disk: "full"', "log: \\ \t é"],
  });
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      const { text } = await json(Buffer.concat([Buffer.from("x"), Buffer.from(bytes)]));
      expect(text).toMatch(/^x[\t\n\x20-\u{10ffff}]*$/u);
    }),
    { numRuns: 30 },
  );
});

describe("alertCommand", () => {
  let host: PretendedHost;
  beforeEach(async () => {
    host = await PretendedHost.make();
    await run("install", ["-d", "-m", "0777", host.at("open")]);
    await chmod(host.folder, 0o755);
  });
  afterEach(() => host.remove());

  const command = async (script: string, ...words: string[]) => {
    await host.write({ command: `#!/bin/bash\n${script}\n` });
    const shared = { log_file: host.at("log"), state_directory: host.at("state"), run_directory: host.at("run") };
    const alerts = { ...shared, recipient: [], alert_command: [host.at("command"), ...words] };
    await writeFile(host.at("settings/alerts.conf"), settingsFiles({ alerts })["alerts.conf"] ?? "");
  };
  const alert = (...args: string[]) =>
    run(join(library, "lsyncd-alert"), args, {
      input: "- disk: full\n",
      env: { ...process.env, LSYNCD_SETTINGS: host.at("settings"), SECRET: "of root" },
      allowFailure: true,
    });
  const spool = async () => (await readdir(host.at("state/alerts/spool"))).filter((name) => name.endsWith(".json"));

  it("gets the message as an unprivileged user, without root's environment", async () => {
    await command(
      `cat >"$1/message"; id -un >"$1/user"; env >"$1/environment"; grep -E '^(Cap|NoNewPrivs)' /proc/self/status >"$1/rights"`,
      host.at("open"),
    );
    expect(await alert("test")).toMatchObject({
      code: 0,
      stdout: `${host.at("command")} accepted the message, run as nobody\n`,
    });
    const read = (name: string) => readFile(host.at(`open/${name}`), "utf8");
    expect(JSON.parse(await read("message"))).toMatchObject({
      kind: "test",
      issues: ["none: this is a test, to check that alerts from this host arrive."],
    });
    expect(await read("user")).toBe("nobody\n");
    expect(await read("environment")).not.toContain("SECRET");
    expect(await read("rights")).toMatch(/^NoNewPrivs:\s+1$/m);
    expect((await read("rights")).match(/^Cap(Inh|Prm|Eff|Bnd|Amb):\s+0+$/gm)).toHaveLength(5);
  });

  it("gets each message it rejected again, in order, and each accepted one once", async () => {
    await command('[ -e "$1/down" ] && { echo "no network"; exit 7; }; cat >>"$1/messages"', host.at("open"));
    await writeFile(host.at("open/down"), "");
    await alert("compose", "alert", "first");
    await alert("compose", "recovered", "second");
    expect(await alert("command")).toMatchObject({ code: 1, stdout: `${host.at("command")}: no network (exit 7)\n` });
    expect(await spool()).toHaveLength(2);
    await run("rm", ["-f", host.at("open/down")]);
    expect((await alert("command")).code).toBe(0);
    expect((await alert("command")).code).toBe(0);
    const messages = (await readFile(host.at("open/messages"), "utf8")).trim().split("\n");
    expect(messages.map((line) => (JSON.parse(line) as Alert).subject)).toEqual(["first", "second"]);
    expect(await spool()).toEqual([]);
  });

  it("that hangs is killed, and this is reported", async () => {
    await command("sleep 60");
    await alert("compose", "alert", "x");
    expect((await alert("command", "1")).stdout).toBe(`${host.at("command")} did not end within 1 s\n`);
  });
});

describe("the examples of docs/monitoring/commands", () => {
  let server: Server;
  const calls: { headers: Record<string, unknown>; body: string; url: string }[] = [];
  let status = 200;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        calls.push({ headers: request.headers, body, url: request.url ?? "" });
        response.writeHead(status).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => server.close(done)));
  beforeEach(() => {
    calls.length = 0;
    status = 200;
  });

  const alert = {
    ...{
      version: 1,
      kind: "alert",
      host: "sqlite-1",
      subject: "[ALERT] Lsyncd on sqlite-1",
      time: "2026-11-28T10:00:00+00:00",
    },
    issues: ["disk: the target is <91> % full", "größe"],
    text: "ISSUES\n",
  };
  const send = async (name: string, secret: string, message: object = alert) => {
    const host = await PretendedHost.make();
    try {
      await host.write({ secret });
      const program = resolve(__dirname, `../../docs/monitoring/commands/alert-to-${name}`);
      return await run(program, [host.at("secret")], { input: JSON.stringify(message), allowFailure: true });
    } finally {
      await host.remove();
    }
  };

  it("ntfy", async () => {
    expect((await send("ntfy", `${url}/lsyncd\ntk_1\n`)).code).toBe(0);
    expect(calls).toMatchObject([
      {
        url: "/lsyncd",
        body: "disk: the target is <91> % full\ngröße",
        headers: { title: "[ALERT] Lsyncd on sqlite-1", priority: "high", authorization: "Bearer tk_1" },
      },
    ]);
  });

  it("Slack", async () => {
    expect((await send("slack", `${url}/services/T/B/x\n`)).code).toBe(0);
    expect(calls[0]?.url).toBe("/services/T/B/x");
    expect(JSON.parse(calls[0]?.body ?? "")).toEqual({
      text: "*[ALERT] Lsyncd on sqlite-1*\ndisk: the target is &lt;91&gt; % full\ngröße",
    });
  });

  it("PagerDuty: the recovery resolves the incident", async () => {
    await send("pagerduty", `key\n${url}/v2/enqueue\n`);
    await send("pagerduty", `key\n${url}/v2/enqueue\n`, { ...alert, kind: "recovered" });
    const [opened, closed] = calls.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
    expect(opened).toMatchObject({
      routing_key: "key",
      event_action: "trigger",
      payload: { source: "sqlite-1", severity: "critical" },
    });
    expect(closed).toMatchObject({ event_action: "resolve", dedup_key: opened?.dedup_key });
  });

  it.each(["ntfy", "slack", "pagerduty"])("%s fails when the service rejects the message", async (name) => {
    status = 500;
    expect((await send(name, name === "pagerduty" ? `key\n${url}/\n` : `${url}/\n`)).code).not.toBe(0);
  });
});
