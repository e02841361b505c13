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
const monitor = text("/usr/local/bin/lsyncd-monitor.sh");

it("has a function for each check of a run", () => {
  const checks = /^checks=\(([^)]+)\)$/m.exec(monitor)?.[1]?.split(" ") ?? [];
  expect(checks.length).toBeGreaterThan(10);
  for (const check of ["volumes", ...checks]) expect(monitor).toMatch(new RegExp(`^check_${check}\\(\\) \\{$`, "m"));
});

it("costs the same whatever is on the volumes: it walks through nothing", () => {
  const commands = monitor.replaceAll(/^ *#.*$/gm, "");
  expect(commands).not.toMatch(/(^|[|;&(] *|\bstart \S+ )(find|du|tree)\b|ls -[a-zA-Z]*R|grep -[a-zA-Z]*r\b/m);
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

it("keeps secrets in files that only root reads, and says that they are secret", () => {
  const holding = files.filter(({ content }) => Object.values(secrets).some((secret) => content.includes(secret)));
  expect(holding.map(({ path, mode, secret }) => ({ path, mode, secret }))).toEqual([
    { path: "/etc/lsyncd/alerts.conf", mode: "0600", secret: true },
    { path: "/root/.msmtprc-lsyncd", mode: "0600", secret: true },
  ]);
});

it("holds off while a deployment has the lock that deployments take", () => {
  const [, lock = ""] = /^deployment_lock=(\S+)$/m.exec(monitor) ?? [];
  for (const script of ["activate.sh", "packages.sh"]) expect(fragment(script)).toContain(`exec 9>${lock}\n`);
});

it("rotates under names at which the monitor reads on", () => {
  const rotation = text("/etc/logrotate.d/lsyncd-as-code");
  expect(rotation).toMatch(/^\tnodateext$/m);
  expect(rotation).toMatch(/^\tdelaycompress$/m);
  expect(rotation).not.toMatch(/postrotate|copytruncate/);
});
