import { fragment } from "../../infra/commands/script";
import { renderFiles } from "../../infra/files";
import { hostOf } from "./support/settings";

const secrets = { heartbeatUrl: "https://example.org/ping/not-for-everyone", password: "not-for-everyone-either" };
const files = renderFiles(
  hostOf({
    heartbeatUrl: secrets.heartbeatUrl,
    smtp: { host: "smtp.example.org", from: "lsyncd@example.org", user: "lsyncd", password: secrets.password },
  }),
);
const text = (path: string): string => {
  const file = files.find((one) => one.path === path);
  if (file === undefined) throw new Error(`no ${path}`);
  return file.content;
};

it("costs the same for any number of files: it walks no volume", () => {
  const parts = files.filter(({ path }) => /\/(checks|monitor)\/|monitor\.sh$/.test(path));
  expect(parts.length).toBeGreaterThan(15);
  for (const { content } of parts)
    expect(content.replaceAll(/^ *#.*$/gm, "")).not.toMatch(
      /(^|[|;&(] *|\bstart \S+ )(find|du|tree)\b|ls -[a-zA-Z]*R|grep -[a-zA-Z]*r\b/m,
    );
});

it("its documented program is short: its limits and one call", () => {
  expect(text("/usr/local/bin/lsyncd-monitor.sh").split("\n").length).toBeLessThan(60);
});

it("has the documented subjects", () => {
  expect(text("/usr/local/lib/lsyncd-as-code/alert-common.sh")).toContain(
    '"[ALERT] Lsyncd Health Check Failed on $host"',
  );
  expect(text("/usr/local/lib/lsyncd-as-code/lsyncd-alert")).toContain('"[FAILED] lsyncd.service on $host"');
});

it("runs two minutes after boot and then every five", () => {
  const timer = text("/etc/systemd/system/lsyncd-monitor.timer");
  expect(timer).toContain("OnBootSec=2min\nOnUnitActiveSec=5min\n");
});

it("keeps secrets in files that only root can read, and marks them as secret", () => {
  const holding = files.filter(({ content }) => Object.values(secrets).some((secret) => content.includes(secret)));
  expect(holding.map(({ path, mode, secret }) => ({ path, mode, secret }))).toEqual([
    { path: "/etc/lsyncd/alerts.conf", mode: "0600", secret: true },
    { path: "/root/.msmtprc-lsyncd", mode: "0600", secret: true },
  ]);
});

it("waits while a deployment holds the deployment lock", () => {
  const [, lock = ""] =
    /^deployment_lock=(\S+)$/m.exec(text("/usr/local/lib/lsyncd-as-code/monitor/deployments.sh")) ?? [];
  expect(fragment("lock.sh")).toContain(`DEPLOYMENT_LOCK=\${LSYNCD_LOCK:-${lock}}\n`);
  for (const script of ["activate.sh", "packages.sh"]) expect(fragment(script)).toContain("take_deployment_lock ");
});

it("log rotation uses names that the monitor continues to read", () => {
  const rotation = text("/etc/logrotate.d/lsyncd-as-code");
  expect(rotation).toMatch(/^\tnodateext$/m);
  expect(rotation).toMatch(/^\tdelaycompress$/m);
  expect(rotation).not.toMatch(/postrotate|copytruncate/);
});
