import { readSettings, type HostSettings, type Settings } from "../../../infra/config";

/** A host key of nobody's: well-formed, for documentation. */
export const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";

/** The least a host needs. */
export const entry = { name: "sqlite-1", address: "192.0.2.11", hostKey };

/** Reads settings as Pulumi hands them over: text as it is, everything else as JSON, under `lsyncd:`. */
export function settingsOf(stack: Record<string, unknown>, env: Record<string, string | undefined> = {}): Settings {
  const all: Record<string, unknown> = { hosts: [entry], ...stack };
  const raw = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [`lsyncd:${key}`, typeof value === "string" ? value : JSON.stringify(value)]);
  return readSettings({ stack: Object.fromEntries(raw) as Record<string, string>, env });
}

/** The faults that settings are refused with, one line each; none when they are accepted. */
export function faultsOf(stack: Record<string, unknown>, env: Record<string, string | undefined> = {}): string[] {
  try {
    settingsOf(stack, env);
    return [];
  } catch (error) {
    return (error as { faults: string[] }).faults;
  }
}

/** One host with the settings given, everything else by default. */
export function hostOf(settings: Record<string, unknown> = {}): HostSettings {
  const [host] = settingsOf({ hosts: [{ ...entry, ...settings }] }).hosts;
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
  rsyncOptions: ["--delete", `--bwlimit="1'0$(id)\`id\`\\" ]] %h`, "--temp-dir=/mnt/a b"],
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
