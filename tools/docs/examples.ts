/** The documentation of a setting that its schema does not contain. */
export interface Example {
  /** A value other than the default, as it is written in a stack file. */
  value: unknown;
  /** The permitted values, where they are more than a type and two numbers. */
  bounds?: string;
  /** A description of its default, if that is not a value. */
  fallback?: string;
  /** It must not be readable in the stack file: set it with --secret. */
  secret?: true;
}

const key = "the text of an OpenSSH, PEM or PKCS#8 key";
const line = "one line of text";

/** An example of each setting, by topic, in the order of docs/configuration.md. */
export const topics: { title: string; settings: Record<string, Example> }[] = [
  {
    title: "Hosts",
    settings: {
      hosts: { value: [{ name: "sqlite-1", address: "192.0.2.11" }], bounds: "a list of one or more hosts" },
      name: { value: "sqlite-1", bounds: "letters, digits, dots, dashes, underscores; up to 63", fallback: "required" },
      address: { value: "192.0.2.11", bounds: "a DNS name or an IP address", fallback: "required" },
      hostKey: {
        value: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc",
        bounds: "a line of known_hosts without the name, or the line in ssh_host_*_key.pub",
        fallback: "the key in known_hosts",
      },
    },
  },
  {
    title: "Logging in",
    settings: {
      port: { value: 2222 },
      user: { value: "deploy", bounds: "lower-case letters, digits, dashes, underscores; up to 32" },
      privateKey: {
        value: "-----BEGIN OPENSSH PRIVATE KEY-----",
        bounds: key,
        fallback: "the ssh-agent",
        secret: true,
      },
      privateKeyPassphrase: { value: "secret", bounds: line, fallback: "none", secret: true },
      password: { value: "secret", bounds: line, fallback: "none", secret: true },
      becomePassword: { value: "secret", bounds: line, fallback: "none", secret: true },
      bastion: { value: { address: "bastion.example.com", user: "jump" }, fallback: "none" },
      sshConfig: { value: true },
    },
  },
  {
    title: "The mirror",
    settings: {
      source: { value: "/mnt/primary", bounds: "absolute path of a mount point, outside the system's directories" },
      target: { value: "/mnt/backup", bounds: "as for source; neither may be inside the other" },
      delay: { value: 5 },
      compress: { value: true },
      wholeFile: { value: false },
      rsyncOptions: {
        value: ["--delete", "--delete-after", "--bwlimit=50M"],
        bounds: "long options of rsync that leave an exact mirror: see [the list](#not-configurable)",
      },
      inotifyMode: { value: "CloseWrite", fallback: "CloseWrite or Modify; lsyncd's own when sqliteSafe is false" },
    },
  },
  {
    title: "SQLite databases",
    settings: {
      sqliteSafe: { value: false },
      sqlitePatterns: { value: ["*.sqlite", "mail-??.db"], bounds: "file names, with * and ? as wildcards" },
      sqliteLockSeconds: { value: 5 },
      sqliteCopyShare: { value: 50 },
      verifySchedule: {
        value: "Sun 03:00",
        bounds: "a calendar event of systemd (systemd.time(7)), or empty",
      },
    },
  },
  {
    title: "Safety",
    settings: {
      deletionLimit: { value: 1000 },
      deletionShare: { value: 50 },
      keepDeletedDays: { value: 14 },
      requireEncryption: { value: true },
      acceptVolumes: {
        value: ["0a1b2c3d-1111-2222-3333-444455556666"],
        bounds: "UUIDs of file systems, as blkid prints them; or the identity that a refusal printed",
        fallback: "none",
      },
    },
  },
  {
    title: "Alerts",
    settings: {
      alertRecipients: { value: ["security@example.com"], bounds: "mail addresses: a list, or one text with commas" },
      alertInterval: { value: 7200 },
      backlogLimit: { value: 500 },
      diskLimit: { value: 80 },
      watchLimit: { value: 80 },
      memoryLimit: { value: 80 },
      restartLimit: { value: 3 },
      testAlert: { value: true },
      smtp: {
        value: {
          host: "smtp.example.com",
          from: "lsyncd@example.com",
          user: "lsyncd",
          passwordCommand: "cat /etc/lsyncd/smtp-password",
        },
        fallback: "the host's sendmail",
      },
      alertCommand: {
        value: ["/usr/local/bin/alert-to-ntfy", "/etc/lsyncd/ntfy"],
        bounds:
          "a list: the absolute path of a program, and its arguments. See [alerts](alerts.md#alerts-by-other-means-than-mail)",
        fallback: "none",
      },
      alertUser: { value: "alerts", bounds: "lower-case letters, digits, dashes, underscores; up to 32" },
      metricsFile: {
        value: "/var/lib/prometheus/node-exporter/lsyncd.prom",
        bounds: "an absolute path that ends with .prom. See [monitoring](monitoring/README.md)",
        fallback: "none",
      },
      heartbeatUrl: {
        value: "https://hc-ping.com/0a1b2c3d",
        bounds: "a URL with https:// or http://",
        fallback: "none",
        secret: true,
      },
    },
  },
];

/** The parts of settings that are objects. */
export const parts: Record<string, Record<string, Omit<Example, "value"> & { meaning: string }>> = {
  smtp: {
    host: { meaning: "Name or address of the mail server.", bounds: "a DNS name or an IP address" },
    port: { meaning: "Port of the mail server.", fallback: "587 for starttls, 465 for tls, 25 for off" },
    from: { meaning: "Sender's address.", bounds: "a mail address" },
    tls: {
      meaning: "Encryption of the connection. off is refused with a password, unless the server is this host.",
    },
    user: { meaning: "Login name for the mail server.", bounds: line, fallback: "no login" },
    password: { meaning: "Password of user.", bounds: line, fallback: "none", secret: true },
    passwordCommand: { meaning: "Command on the host that prints the password.", bounds: line, fallback: "none" },
  },
  bastion: {
    address: { meaning: "Address of the jump host, as seen from your machine.", bounds: "a DNS name or an IP address" },
    port: { meaning: "Port of its SSH server.", fallback: "`22`" },
    user: { meaning: "Login name.", bounds: "as for user" },
    hostKey: { meaning: "Its public key.", bounds: "as for hostKey", fallback: "the key in known_hosts" },
    privateKey: { meaning: "Private key for it.", bounds: key, fallback: "the host's login", secret: true },
    privateKeyPassphrase: { meaning: "Passphrase of that key.", bounds: line, fallback: "none", secret: true },
    password: { meaning: "Password for it.", bounds: line, fallback: "the host's login", secret: true },
  },
};
