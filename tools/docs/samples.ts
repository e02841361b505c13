import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { simpleParser } from "mailparser";
import { libDirectory, stateDirectory } from "../../infra/paths";
import { execOn, sandboxDown, sandboxUp, until, type SandboxHost } from "../sandbox";
import { Stack } from "../stack";
import { fencedBlocks } from "./blocks";

const root = resolve(__dirname, "../..");

/** The page of samples: output and mails of a real host. */
export const samplesPage = "docs/alerts-samples.md";

/** The samples, by the name that a test uses. */
const titles = {
  healthy: "A run that finds nothing",
  sick: "A run that finds something",
  alert: "[ALERT]",
  recovered: "[RECOVERED]",
  failed: "[FAILED]",
  again: "[FAILED], of those that followed",
  undone: "[ALERT], of a deployment",
  test: "[TEST]",
} as const;

export type SampleName = keyof typeof titles;
type Samples = Record<SampleName, string>;

/**
 * A mail as its reader sees it: the headers as they are, the text decoded. One is shown whole; in the others the host's
 * state follows in the same way.
 */
export async function shownMail(name: SampleName, raw: Buffer): Promise<string> {
  const bytes = raw.toString("latin1").replaceAll("\r\n", "\n");
  const { text = "" } = await simpleParser(raw);
  const [found = ""] = text.split(/^SERVICE STATUS$/m);
  return `${bytes.slice(0, bytes.indexOf("\n\n"))}\n\n${name === "alert" ? text.trimEnd() : `${found}…`}`;
}

/**
 * The part that is the same on every host in the same condition: without numbers and mail addresses, and with only the headings of the
 * host's state (its service, disks and logs).
 */
export function wordsOf(sample: string): string {
  const own = /^(SERVICE STATUS|DISK USAGE|RECENT LOG .*|RECENT JOURNAL)\n[^]*?\n\n(?=[A-Z]{2}[A-Z ][A-Z])/gm;
  return sample
    .replaceAll(own, (_all, title: string) => `${title}\n…\n\n`)
    .replace(/^To: [^]*?\n(?! )/m, "To: …\n")
    .replaceAll(/<[^<>\s]+@[^<>\s]+>/g, "<…>")
    .replaceAll(/^(Date|Time): .*$/gm, "$1: …")
    .replaceAll(/\d+/g, "0");
}

/** The same without what the checks found, which differs between hosts. */
export function formOf(sample: string): string {
  return wordsOf(sample).replaceAll(/^((?:ok|held|skipped|note|PROBLEM|UNKNOWN|PAUSED) +[a-z]+ +).*$/gm, "$1…");
}

/** The samples that a page shows. */
export function samplesOf(markdown: string): Partial<Samples> {
  const blocks = fencedBlocks(markdown).filter(({ info }) => info === "text");
  return Object.fromEntries(Object.keys(titles).map((name, index) => [name, blocks[index]?.text.join("\n")]));
}

/** The page, of samples. */
function page(samples: Samples): string {
  const blocks = Object.entries(titles).map(
    ([name, title]) => `## ${title}\n\n\`\`\`text\n${samples[name as SampleName]}\n\`\`\`\n`,
  );
  return `# Samples of alerts

<!-- Written by \`npm run docs -- --samples\` from what a sandbox host printed and sent. -->

For operators: the output of the monitor, and the mails of [alerts](alerts.md) as a mail program shows them. The first mail is complete; the
others also continue with the state of the host.

${blocks.join("\n")}`;
}

/** The recipients in the samples. */
export const recipients = ["ops@example.com", "dba@example.com"];
const monitor = "/usr/local/bin/lsyncd-monitor.sh";

/** Collects the samples from a deployed host: breaks its mirror in several ways, one after the other, and repairs it. */
async function take(host: SandboxHost): Promise<Samples> {
  const sh = async (script: string) => (await execOn(host, script, { allowFailure: true })).stdout.trim();
  const mails = async () => Number(await sh("ls /root/mails 2>/dev/null | wc -l"));
  const mail = async (number: number, name: SampleName) => {
    await until(`mail ${number} is there`, 40_000, async () => (await mails()) >= number);
    const { stdout } = await execOn(host, `base64 -w 0 /root/mails/${number}`);
    return shownMail(name, Buffer.from(stdout, "base64"));
  };
  const mirrors = () =>
    until("lsyncd mirrors", 40_000, async () => {
      const token = String(Math.random());
      return (await sh(`echo ${token} >${host.source}/note; sleep 3; cat ${host.target}/note`)) === token;
    });

  const test = await mail(1, "test");
  await sh(monitor);
  const healthy = await sh(monitor);
  await sh("systemctl stop lsyncd; sleep 6");
  const sick = await sh(monitor);
  const alert = await mail(2, "alert");
  await sh("systemctl start lsyncd");
  await mirrors();
  await sh(monitor);
  const recovered = await mail(3, "recovered");
  await sh("pkill -KILL -x lsyncd");
  const failed = await mail(4, "failed");
  await sh("sleep 12; for kill in 1 2; do pkill -KILL -x lsyncd; sleep 12; done");
  await mirrors();
  await sh(`LSYNCD_MONITOR_NOW=$(($(date +%s) + 3600)) ${monitor}`);
  const again = await mail(5, "again");
  // The state that a deployment leaves if it is interrupted before it has replaced anything.
  await sh(`cd ${stateDirectory} && mkdir -m 0700 transaction && cd transaction && : >absent || exit
    for record in manifest id volumes; do cp -a ../$record $record.old; done
    printf '%s lsyncd.service\\n%s lsyncd-monitor.timer\\n' enabled enabled running running >units.old
    echo swapping >phase; systemctl start lsyncd-undo.service; ${libDirectory}/lsyncd-alert now`);
  const undone = await mail(6, "undone");
  return { healthy, sick, alert, recovered, failed, again, undone, test };
}

/** Writes the page anew, from a sandbox host that it makes for that and removes. */
export async function writeSamples(): Promise<void> {
  const name = `samples-${process.pid}`;
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-samples-"));
  try {
    const { hosts } = await sandboxUp({ name, owner: process.pid });
    const [host] = hosts;
    if (!host) throw new Error("the sandbox has no host");
    // The timer is stopped: this program decides when the monitor runs.
    await execOn(
      host,
      `sqlite3 ${host.source}/customers.sqlite 'CREATE TABLE customer (mail TEXT)'; mkdir /root/mails
       printf '#!/bin/sh\\ncat >/root/mails/$(($(ls /root/mails | wc -l) + 1))\\n' >/usr/sbin/sendmail; chmod 755 /usr/sbin/sendmail
       mkdir -p /etc/systemd/system/lsyncd-monitor.timer.d
       printf '[Timer]\\nOnBootSec=\\nOnActiveSec=30d\\n' >/etc/systemd/system/lsyncd-monitor.timer.d/wait.conf`,
    );
    const stack = await new Stack({ name: "samples", directory }).init();
    await stack.configure(hosts, { alertRecipients: recipients, testAlert: true });
    const { code, stdout, stderr } = await stack.up();
    if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
    await writeFile(join(root, samplesPage), page(await take(host)));
    console.log(samplesPage);
  } finally {
    await sandboxDown(name);
    await rm(directory, { recursive: true, force: true });
  }
}
