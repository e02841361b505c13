import { readFile, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";
import { PretendedHost } from "../support/monitor";
import { installTime, needPrograms } from "../support/programs";

// The monitor's metrics for Prometheus, and the rules and the dashboard that read them, checked by Prometheus' own program.

const docs = resolve(__dirname, "../../docs/monitoring");
let host: PretendedHost;
beforeAll(() => needPrograms("promtool", "bash"), installTime);
beforeEach(async () => {
  host = await PretendedHost.make();
});
afterEach(() => host.remove());

/** Writes the metrics of a host without unknown values. */
async function written(more = ""): Promise<string> {
  await host.write({
    "state/manifest": "0755 abc none /x\n",
    "state/passes": "1700000000 12\n1700000500 34\n",
    "lsyncd.prom": "old",
  });
  const { stderr } = await host.bash(`
    metrics_file=$folder/lsyncd.prom
    for name in volumes "\${checks[@]}"; do verdicts[$name]=ok; done
    values=([behind_seconds]=2 [databases_behind_seconds]=900 [databases_waiting]=3 [databases_waiting:locked]=2
      ['databases_waiting:a"\\b']=1 [backlog]=7 [restarts_last_hour]=1 [verify_finished]=1700000000 [verify_faults]=0
      [verify_unchecked]=0 [watches]=10 [watches_limit]=1000 [memory_bytes]=5 [memory_limit_bytes]=1073741824
      [failover]=in-use [disk_size_bytes]=100 [disk_free_bytes]=60 [disk_percent]=40 [inodes_percent]=3)
    ${more}
    write_metrics 0`);
  expect(stderr).toBe("");
  return readFile(host.at("lsyncd.prom"), "utf8");
}

it("the metrics pass promtool, and every user can read them", async () => {
  const text = await written();
  expect(await run("promtool", ["check", "metrics"], { input: text, allowFailure: true })).toEqual({
    ...{ code: 0, stdout: "", stderr: "" },
  });
  expect(text).toMatch(/\n# EOF\n$/);
  expect((await stat(host.at("lsyncd.prom"))).mode & 0o777).toBe(0o644);
  for (const line of [
    "lsyncd_up 1",
    'lsyncd_lag_seconds{kind="databases"} 900',
    'lsyncd_databases_waiting{cause="locked"} 2',
    'lsyncd_databases_waiting{cause="a\\"\\\\b"} 1',
    "lsyncd_last_pass_timestamp_seconds 1700000500",
    "lsyncd_last_pass_duration_seconds 34",
    "lsyncd_deletions_held 0",
    "lsyncd_failover 1",
    'lsyncd_failover_state{state="in-use"} 1',
  ])
    expect(text.split("\n")).toContain(line);
});

it("unknown values are omitted, and no problem is hidden by that", async () => {
  const text = await written("values=(); verdicts=([service]=PROBLEM [disk]=ok [moving]=skipped)");
  expect(text).toContain("lsyncd_up 0\n");
  expect(text).toContain('lsyncd_check_healthy{check="service"} 0\nlsyncd_check_healthy{check="disk"} 1\n# HELP');
  expect(text).not.toMatch(/lsyncd_(delays|watches|memory_bytes|mirror_free_bytes|failover|databases_waiting_all) /);
  expect(text).not.toContain("lsyncd_lag_seconds");
});

it("the digest identifies the deployment", async () => {
  const { createHash } = await import("node:crypto");
  const digest = createHash("sha256").update("0755 abc none /x").digest("hex").slice(0, 12);
  expect(await written()).toContain(`lsyncd_deployment_info{digest="${digest}"} 1\n`);
});

it("nothing is written through a symbolic link in the collector's directory", async () => {
  await writeFile(host.at("precious"), "precious");
  await run("ln", ["-sf", host.at("precious"), host.at("lsyncd.prom.new")]);
  await host.bash(
    'metrics_file=$folder/lsyncd.prom; rm -f "$metrics_file"; ln -s "$folder/precious" "$metrics_file"; write_metrics 0',
  );
  expect(await readFile(host.at("precious"), "utf8")).toBe("precious");
  expect((await readFile(host.at("lsyncd.prom"), "utf8")).length).toBeGreaterThan(100);
});

it("each rule fires when it should, and only then", async () => {
  const options = { cwd: docs, allowFailure: true };
  expect(await run("promtool", ["check", "rules", "rules.yml"], options)).toMatchObject({ code: 0 });
  expect(await run("promtool", ["test", "rules", "rules.test.yml"], options)).toMatchObject({ code: 0 });
  const names = (text: string, pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))];
  const rules = names(await readFile(join(docs, "rules.yml"), "utf8"), /- alert: (\w+)/g);
  const tests = await readFile(join(docs, "rules.test.yml"), "utf8");
  for (const rule of rules)
    expect(tests).toMatch(new RegExp(`alertname: ${rule}\\n +eval_time: \\w+\\n +exp_alerts:\\n`));
  // promtool alone takes 14 s of a processor for it.
}, 180_000);

it("the rules, the dashboard and the page use only existing metrics", async () => {
  const there = new Set([...(await written()).matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  for (const file of ["rules.yml", "dashboard.json", "README.md"]) {
    const text = await readFile(join(docs, file), "utf8");
    const named = [...text.matchAll(/\blsyncd_[a-z_]+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !there.has(name))).toEqual([]);
  }
  const page = await readFile(join(docs, "README.md"), "utf8");
  expect([...there].filter((name) => !page.includes(`\`${name}`) && !name?.endsWith("_duration_seconds"))).toEqual([]);
});
