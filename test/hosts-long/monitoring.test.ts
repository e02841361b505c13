import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { hostStatus } from "../../cli/status/schema";
import { deployment, host, install, minutes, source, target, useAlertHost } from "../support/alerts";
import { eventually } from "../support/deployment";
import { installTime, needPrograms } from "../support/programs";
import { runTool, startTool } from "../support/tools";

// The monitor with other systems: a real node_exporter on the host and a real Prometheus here, waiting for the mirror, and a
// program that receives the alerts.

useAlertHost("monitoring");

const metricsFile = "/var/lib/prometheus/node-exporter/lsyncd.prom";
const exporter = "127.84.25.7:9100";
const prometheus = "127.84.25.8:9090";

describe("Prometheus", () => {
  let folder: string;
  let server: ChildProcess;
  beforeAll(async () => {
    await needPrograms("prometheus");
    await host.sh(
      `DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends prometheus-node-exporter >/tmp/apt.log 2>&1 || { tail /tmp/apt.log >&2; exit 1; }
      systemctl stop prometheus-node-exporter
      systemd-run --quiet --unit exporter -p User=nobody prometheus-node-exporter --web.listen-address=${exporter} \\
        --collector.disable-defaults --collector.textfile --collector.textfile.directory=/var/lib/prometheus/node-exporter`,
      { timeoutMs: 300_000 },
    );
    folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-prometheus-"));
    // The rules unchanged, except for their delays.
    const rules = await readFile(resolve(__dirname, "../../docs/monitoring/rules.yml"), "utf8");
    await writeFile(join(folder, "rules.yml"), rules.replaceAll(/for: \w+/g, "for: 1s"));
    await writeFile(
      join(folder, "prometheus.yml"),
      `global: {scrape_interval: 2s, evaluation_interval: 2s}\nrule_files: [rules.yml]
scrape_configs: [{job_name: node, static_configs: [{targets: ["${exporter}"], labels: {instance: sqlite-1}}]}]\n`,
    );
    const args = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", `--web.listen-address=${prometheus}`];
    server = spawn("prometheus", args, { cwd: folder, stdio: "ignore" });
  }, installTime);
  afterAll(async () => {
    server.kill();
    await rm(folder, { recursive: true, force: true });
  });

  const firing = async (): Promise<string[]> => {
    const answer = await fetch(`http://${prometheus}/api/v1/alerts`);
    const { data } = (await answer.json()) as { data: { alerts: { state: string; labels: { alertname: string } }[] } };
    return data.alerts.filter(({ state }) => state === "firing").map(({ labels }) => labels.alertname);
  };
  const value = async (query: string): Promise<string | undefined> => {
    const answer = await fetch(`http://${prometheus}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
    return data.result[0]?.value[1];
  };

  it(
    "scrapes a healthy mirror; its rule fires when the mirror breaks and resolves after the repair",
    async () => {
      await install({ metricsFile });
      await host.monitor();
      await eventually(async () => (await value("lsyncd_up").catch(() => undefined)) === "1", 60);
      for (const name of ["lsyncd_delays", "lsyncd_watches", "lsyncd_mirror_free_bytes", "lsyncd_deployment_info"])
        expect([name, await value(name)]).toEqual([name, expect.any(String)]);
      expect(await value("lsyncd_last_pass_timestamp_seconds")).toMatch(/^\d{10}/);
      await host.sh("systemctl stop lsyncd; sleep 6");
      await host.monitor();
      await eventually(async () => (await firing()).includes("LsyncdDown"), 60);
      await host.sh("systemctl start lsyncd");
      await host.synced();
      await host.monitor();
      await eventually(async () => !(await firing()).includes("LsyncdDown"), 60);
    },
    minutes(4),
  );
});

describe("lsyncd-wait", () => {
  it(
    "returns when everything written before is in the mirror: files, and a database",
    async () => {
      await install();
      for (const round of [1, 2, 3]) {
        const said = await host.sh(
          `cd ${source}; mkdir -p many-${round}; for file in $(seq 300); do echo ${round} >many-${round}/$file; done
          sqlite3 wait.sqlite "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (n); INSERT INTO t VALUES (${round})" >/dev/null
          lsyncd-wait --timeout 100 || exit
          ls ${target}/many-${round} | wc -l; cat ${target}/many-${round}/300
          sqlite3 ${target}/wait.sqlite 'SELECT max(n) FROM t'; ls -A ${source} | grep -c lsyncd-wait`,
          { allowFailure: true, timeoutMs: 150_000 },
        );
        expect(said).toBe(`300\n${round}\n${round}\n0`);
      }
    },
    minutes(6),
  );

  it(
    "is right each time when it is called again and again, also while lsyncd starts",
    async () => {
      await install();
      const said = await host.sh(
        `cd ${source}
        for round in $(seq 24); do
          [ $((round % 4)) -gt 0 ] || systemctl restart lsyncd
          echo $round >again-$((round % 3)); echo $round >stays/again
          lsyncd-wait --timeout 100 || echo "exit code $?"
          cmp again-$((round % 3)) ${target}/again-$((round % 3)); cmp stays/again ${target}/stays/again
        done 2>&1`,
        { allowFailure: true, timeoutMs: 280_000 },
      );
      expect(said).toBe("");
    },
    minutes(6),
  );

  it(
    "does not return while rsync is blocked, and gives the reason",
    async () => {
      await install();
      const said = await host.sh(
        `touch /tmp/hold; (while [ -e /tmp/hold ]; do pkill -STOP -x rsync; sleep 0.01; done) >/dev/null 2>&1 &
        sleep 0.5; echo x >${source}/x; lsyncd-wait --timeout 5; echo $?; rm /tmp/hold; pkill -CONT -x rsync; lsyncd-wait; echo $?`,
        { timeoutMs: 100_000 },
      );
      expect(said).toBe("1\n0");
    },
    minutes(3),
  );

  it(
    "runs on all hosts by npm run wait",
    async () => {
      const { code, stdout } = await runTool(deployment.stack, "cli/wait.ts", ["--timeout", "60"]);
      expect([code, stdout]).toEqual([0, expect.stringMatching(/^sqlite-1: mirrored after [\d.]+ s\n$/)]);
    },
    minutes(2),
  );
});

it(
  "alertCommand gets each alert, and a rejected one again at the next run",
  async () => {
    await host.sh(`printf '#!/bin/sh\\n[ ! -e /tmp/refuse ] || exit 1\\nid -un >>/tmp/alerts; cat >>/tmp/alerts\\n' >/usr/local/bin/take
      chmod 755 /usr/local/bin/take; touch /tmp/refuse; install -m 0666 /dev/null /tmp/alerts`);
    await install({ alertCommand: ["/usr/local/bin/take"] });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const refused = await host.monitor();
    await host.sh("rm /tmp/refuse; systemctl start lsyncd");
    await host.synced();
    await host.monitor();
    expect(refused.output).toMatch(/^note +command +did not accept the message, retried at the next run: /m);
    const lines = (await host.sh("cat /tmp/alerts")).split("\n").filter((line) => line !== "nobody");
    const kinds = lines.map((line) => (JSON.parse(line) as { kind: string }).kind);
    expect(kinds).toEqual(["alert", "recovered"]);
  },
  minutes(2),
);

it(
  "npm run status makes no probe, sends nothing, and matches its schema",
  async () => {
    await install();
    await host.monitor();
    const before = await host.sh("cd /var/lib/lsyncd-as-code/alerts; grep -r . . | sort");
    const { stdout } = await runTool(deployment.stack, "cli/status.ts", ["--json"]);
    const [status] = z.array(hostStatus).parse(JSON.parse(stdout));
    expect(status).toMatchObject({ checks: { moving: { verdict: "skipped" }, volumes: { verdict: "ok" } } });
    expect(await host.sh("cd /var/lib/lsyncd-as-code/alerts; grep -r . . | sort")).toBe(before);
    expect(await host.sh("grep -c monitor-probe /var/log/lsyncd/lsyncd.log", { allowFailure: true })).not.toBe("");
  },
  minutes(2),
);

it(
  "npm run status -- --watch goes on asking, and shows a mirror that stops and one that runs again",
  async () => {
    await install();
    const lines: string[] = [];
    const watching = startTool(deployment.stack, "cli/status.ts", ["--watch", "--json", "--every", "1"], (line) =>
      lines.push(line),
    );
    // Not its health: the files that this test installed are not those that are deployed.
    const shows = (state: RegExp) => () => {
      const [status] = z.array(hostStatus).parse(JSON.parse(lines.at(-1) ?? "[]"));
      return Promise.resolve(state.test(status?.lsyncd?.state ?? ""));
    };
    try {
      await eventually(shows(/^active$/), 60);
      await host.sh("systemctl stop lsyncd");
      await eventually(shows(/^inactive/), 60);
      await host.sh("systemctl start lsyncd");
      await host.synced();
      await eventually(shows(/^active$/), 90);
      expect(lines.length).toBeGreaterThan(2);
    } finally {
      watching.kill();
    }
  },
  minutes(5),
);
