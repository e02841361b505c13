import * as commands from "../../infra/commands";
import { partsOf, scriptOf } from "../../infra/commands/bundle";
import { readSettings, type HostSettings } from "../../infra/config";
import { renderFiles, type RenderedFile } from "../../infra/files";

/** A well-formed host key that no host has. */
export const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";

/** The least a host needs. */
export const entry = { name: "sqlite-1", address: "192.0.2.11", hostKey };

/** One host with the settings given, everything else by default. */
export function hostOf(settings: Record<string, unknown> = {}): HostSettings {
  const stack = { "lsyncd:hosts": JSON.stringify([{ ...entry, ...settings }]) };
  const [host] = readSettings({ stack, env: {} }).hosts;
  if (host === undefined) throw new Error("no host");
  return host;
}

/** Settings that the schema admits and that mean something to every language they are written into. */
export const hostile = {
  user: "deploy",
  source: `/mnt/it's "one" $HOME $(id) \`id\` %h %% \\n \\ ; # {{source}} ]] é 日本 🦊`,
  target: `/mnt/-rf *?[a] 'two' \${PATH} %i & | < > ! ~ @x \\x2d .. \\"`,
  alertRecipients: ["o'brien+lsyncd@example.com", "-oX@example.com", "a_b@example.co.uk"],
  delay: 3600,
  compress: true,
  wholeFile: false,
  rsyncOptions: ["--delete", `--temp-dir=/mnt/a "1'0$(id)\`id\`\\" ]] %h`, "--bwlimit=10M"],
  verifySchedule: "Mon..Fri,Sun *-*-01/2 03:00:00 Europe/Berlin",
  heartbeatUrl: "https://example.com/ping/'$(id)`id`\"\\%h?a=b&c=[d]#{{e}}",
  smtp: {
    host: "smtp.example.com",
    port: 2525,
    from: "o'brien@example.com",
    tls: "starttls",
    user: `us"er '$(id)' \\ # %h`,
    password: `pass"word '$(id)\`id\` \\" # %h 日本`,
  },
};

/** The name of the sample with these settings. */
export const hostileName = "hostile settings";

/** The rendered files and scripts for one set of settings. */
export interface Sample {
  /** Which settings, for a person. */
  name: string;
  files: RenderedFile[];
  scripts: { name: string; text: string }[];
}

function sampleOf(name: string, host: HostSettings): Sample {
  const identity = { stack: "organization/lsyncd/sample", host };
  const files = renderFiles(host);
  // The scripts hold the files, which are read by themselves.
  const withoutTexts = files.map((file) => ({ ...file, content: "" }));
  return {
    name,
    files,
    scripts: [
      { name: "preflight", text: commands.preflight(identity, withoutTexts).stdin },
      { name: "packages", text: commands.installPackages(identity).stdin },
      { name: "activate", text: scriptOf(partsOf(commands.activate(identity, withoutTexts).stdin) ?? {}) },
      { name: "look", text: commands.look(identity).stdin },
      { name: "look in a preview", text: commands.look(identity, []).stdin },
      { name: "status", text: commands.status(host).stdin },
      { name: "waive", text: commands.leaveWaivers(identity, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]).stdin },
    ],
  };
}

/** Everything that is rendered, with default settings and with hostile ones. */
export function samples(): Sample[] {
  return [sampleOf("default settings", hostOf()), sampleOf(hostileName, hostOf(hostile))];
}
