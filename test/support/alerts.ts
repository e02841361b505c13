import { prepare, succeeded, type Deployment } from "./deployment";
import { MailServer, makeCertificate, type Certificate, type ReceivedMail } from "./mail";
import { AlertHost } from "./mail-host";
import type { Release } from "../../tools/sandbox";

/** Shared by the tests of alerts: a deployed host, and a new mail server for each test. */

/** The address of the tests' mail servers; each has its own port. */
export const address = "127.84.25.1";
export const recipients = ["ops@example.org", "dba@example.org"];
export const alertSubject = "[ALERT] Lsyncd Health Check Failed on sqlite-1";
export const recoveredSubject = "[RECOVERED] Lsyncd Health Check on sqlite-1";
export const failedSubject = "[FAILED] lsyncd.service on sqlite-1";
/** So many minutes in milliseconds. */
export const minutes = (count: number): number => count * 60_000;
/** The text of a mail. */
export const text = (mail: ReceivedMail): string => mail.message.text ?? "";
/** The problems that a mail lists. */
export const issues = (mail: ReceivedMail): string => /ISSUES\n([^]*?)\n\n?SERVICE STATUS/.exec(text(mail))?.[1] ?? "";
/** A command for a host: waits until this succeeds there, for at most a minute. */
export const until = (command: string): string =>
  `for try in $(seq 300); do { ${command}; } >/dev/null 2>&1 && break; sleep 0.2; done`;
/** A command for a host: kills lsyncd so many times, and waits each time until systemd has started it again. */
export const killLsyncd = (times: number): string =>
  `for kill in $(seq ${times}); do
    ${until("pidof lsyncd")}
    before=$(systemctl show -p NRestarts --value lsyncd); pkill -KILL -x lsyncd
    ${until('[ "$(systemctl show -p NRestarts --value lsyncd)" -gt "$before" ] && pidof lsyncd')}
  done`;
/** A command for a host: waits until a run of the monitor has begun. */
export const monitorBegan = until("[ -e /run/lsyncd-as-code/alerts/running ]");
/** Seconds since 1970. */
export const realNow = (): number => Math.floor(Date.now() / 1000);

export let deployment: Deployment;
export let host: AlertHost;
/** The server of the current test. */
export let server: MailServer;
export let certificate: Certificate;
export let source: string;
export let target: string;

/** The settings of mail through the current server, without encryption. */
export const plain = (): Record<string, unknown> => ({
  ...{ host: address, port: server.port, from: "lsyncd@example.org", tls: "off" },
});

/** Installs the files with these settings, forgets all alerts, and restarts lsyncd. */
export const install = (settings: Record<string, unknown> = {}): Promise<void> =>
  host.install({ alertRecipients: recipients, smtp: plain(), deletionLimit: 100_000, ...settings });

/** Deploys a host before the tests of a file, and gives each test a mail server. */
export function useAlertHost(purpose: string, release: Release = "bookworm"): void {
  beforeAll(async () => {
    deployment = await prepare(purpose, { release });
    host = new AlertHost(deployment.host);
    ({ source, target } = deployment.host);
    certificate = await makeCertificate(address);
    // The program installs what mail and heartbeat need; after that the tests change the settings by rendering the
    // files again.
    await deployment.configure({
      smtp: { host: address, from: "lsyncd@example.org" },
      heartbeatUrl: "https://example.org/ping",
    });
    succeeded(await deployment.stack.up());
    await host.prepare();
    // Files that stay, so that a test's deletions are not nearly everything.
    await host.sh(`mkdir ${source}/stays && cd ${source}/stays && touch $(seq 400)`);
  }, minutes(9));

  afterAll(async () => {
    await deployment.remove();
  }, minutes(2));

  beforeEach(async () => {
    server = await MailServer.start({ address });
  });

  afterEach(async () => {
    await server.stop();
  });
}
